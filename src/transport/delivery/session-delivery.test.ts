import { describe, expect, it } from "vitest";
import { Namespace } from "../../protocol/topology.ts";
import type { DeliveryRecord } from "../transport.ts";
import { CallsPutAside } from "./calls-put-aside.ts";
import { Crowd } from "./crowd.ts";
import { Isolations } from "./isolations.ts";
import { type DeliverySurroundings, LaneDelivery, type Source } from "./session-delivery.ts";
import { UnderWay } from "./under-way.ts";

function delivered(source: Source, headers: Readonly<Record<string, number>>): LaneDelivery {
  const message = { body: new Uint8Array(), properties: { type: "/", messageId: "m", headers } };
  const wired = {
    message,
    exchange: "",
    key: "",
    redelivered: true,
    ack: () => undefined,
    requeue: () => undefined,
    hold: "held" as const,
  };
  const surroundings: DeliverySurroundings = {
    instance: "i",
    namespace: new Namespace("confluo"),
    dead: "confluo.s.dead",
    wire: undefined,
    queueOf: () => "confluo.s.inbox",
    declareMoves: async () => undefined,
    newId: () => "id",
    warn: () => undefined,
    copies: new UnderWay(),
    isolations: new Isolations(),
    crowd: new Crowd(),
    putAside: new CallsPutAside(async () => 1),
    waits: () => undefined,
    expired: () => undefined,
  };
  return new LaneDelivery(source, wired, { link: surroundings, receivedAt: 0 });
}

const records: readonly (readonly [alone: boolean, looked: DeliveryRecord, lost: DeliveryRecord])[] = [
  [false, "fresh", "suspect"],
  [true, "again", "fatal"],
];

describe("a message that was delivered before", () => {
  it("is what it was if it was only looked at, where the broker counts that apart", () => {
    for (const [alone, looked, lost] of records) {
      const source: Source = { lane: "inbox", alone };
      expect(delivered(source, { "x-acquired-count": 3 })).toMatchObject({
        record: looked,
        redelivered: alone,
      });
      expect(delivered(source, { "x-acquired-count": 2, "x-delivery-count": 1 }).record).toBe(lost);
      // Older brokers have one count for both, and classic queues none.
      expect(delivered(source, { "x-delivery-count": 1 }).record).toBe(lost);
      expect(delivered({ lane: "calls", alone }, {}).record).toBe(lost);
    }
  });
});
