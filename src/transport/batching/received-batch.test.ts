import { expect, it, vi } from "vitest";
import { bounced } from "../../protocol/batch.ts";
import type { Message } from "../../protocol/message.ts";
import type { AmqpClient, AmqpDelivery, PublishFailure, Route } from "../amqp-client.ts";
import { fakeClient } from "../session/fake-client.test-support.ts";
import { ReceivedBatch } from "./received-batch.ts";

function gathered(count: number, client: AmqpClient | undefined = fakeClient()) {
  const ack = vi.fn();
  const received: AmqpDelivery = {
    message: { body: new Uint8Array(), properties: { replyTo: "q" } },
    queue: "confluo.s.calls.batch",
    exchange: "",
    key: "confluo.s.calls.batch",
    redelivered: true,
    hold: "held",
    ack,
    requeue: vi.fn(),
  };
  const calls = new ReceivedBatch(received, count, client);
  const deliveries = Array.from({ length: count }, (_, n) =>
    calls.delivery({ body: new Uint8Array(), properties: { correlationId: `c${n}` } }),
  );
  return { ack, deliveries, received };
}

it("is acknowledged with the last of its calls, in whatever order they end", () => {
  const { ack, deliveries } = gathered(3);
  for (const n of [2, 0]) deliveries[n]?.ack();
  expect(ack).not.toHaveBeenCalled();
  deliveries[1]?.ack();
  expect(ack).toHaveBeenCalledTimes(1);
});

it("counts each of its calls once", () => {
  const { ack, deliveries } = gathered(2);
  for (let n = 0; n < 3; n += 1) deliveries[0]?.ack();
  expect(ack).not.toHaveBeenCalled();
  for (let n = 0; n < 3; n += 1) deliveries[1]?.ack();
  expect(ack).toHaveBeenCalledTimes(1);
});

it("shows each call as if it had come by itself", () => {
  const { deliveries, received } = gathered(1);
  const { exchange, key, redelivered } = received;
  expect(deliveries[0]).toMatchObject({ exchange, key, redelivered });
  expect(deliveries[0]?.message.properties.correlationId).toBe("c0");
});

it("asks for all calls of a turn that are to be sent again in one message, and says whether the broker took it", async () => {
  for (const failure of [undefined, "lost", "refused"] as const) {
    const published: (readonly [Route, Message])[] = [];
    const publish = (route: Route, message: Message, settled: (failure?: PublishFailure) => void): void => {
      published.push([route, message]);
      setImmediate(settled, failure);
    };
    const { deliveries, ack } = gathered(3, fakeClient({ publish }));
    const bounces = deliveries.slice(0, 2).map((delivery) => delivery.bounce?.());
    expect(published).toEqual([]);
    expect(await Promise.all(bounces)).toEqual([failure === undefined, failure === undefined]);
    expect(await deliveries[2]?.bounce?.()).toBe(failure === undefined);
    const to = { exchange: "", key: "q" };
    expect(published).toEqual([
      [to, bounced(["c0", "c1"])],
      [to, bounced(["c2"])],
    ]);
    expect(ack).not.toHaveBeenCalled();
  }
});
