import { describe, expect, it } from "vitest";
import { whyNoReturn } from "./return-address.ts";
import { Namespace } from "./topology.ts";

const namespace = new Namespace("shop");
const queues = [
  ...namespace.sharedQueues(),
  ...namespace.callQueues("orders"),
  ...namespace.durableQueues("orders"),
].map(({ name }) => name);

describe("a place for an answer", () => {
  it.each(queues)("is not %s, which takes messages for work", (replyTo) => {
    expect(whyNoReturn({ replyTo })).toMatch(/is the queue of a service/);
  });

  it("is any other queue, also one whose name is like those of services", () => {
    for (const replyTo of ["answers", "shop.orders", "shop.orders.calls.mine", "a.b.c.calls", "shop.delay.x"])
      expect(whyNoReturn({ replyTo }), replyTo).toBeUndefined();
  });
});
