import { describe, expect, it } from "vitest";
import { header } from "../../protocol/codec.ts";
import type { Message } from "../../protocol/message.ts";
import { Namespace } from "../../protocol/topology.ts";
import type { Source } from "../queues/places.ts";
import { fakeClient } from "../session/fake-client.test-support.ts";
import type { DeliveryHistory } from "../transport.ts";
import { CallsPutAside } from "./calls-put-aside.ts";
import { Crowd } from "./crowd.ts";
import { Isolations } from "./isolations.ts";
import { type DeliveryDependencies, SessionDelivery } from "./session-delivery.ts";

/** A delivery of a queue of its own name, and what it publishes. */
function delivered(source: Source, headers: Readonly<Record<string, number>>, published: Message[] = []) {
  const message = { body: new Uint8Array(), properties: { type: "/", messageId: "m", headers } };
  const received = {
    message,
    queue: "the queue it came from",
    exchange: "",
    key: "",
    redelivered: true,
    ack: () => undefined,
    requeue: () => undefined,
    hold: "held" as const,
  };
  const namespace = new Namespace("confluo");
  const surroundings: DeliveryDependencies = {
    member: { instance: "i", onExpired: () => undefined },
    connection: {
      client: fakeClient({
        publish: (_route, copy, settled) => {
          published.push(copy);
          settled();
        },
      }),
      namespace,
      newId: () => "id",
      warn: () => undefined,
    },
    dead: "confluo.s.dead",
    isClosing: false,
    queues: { queueOf: () => "the queue of its lane" },
    levels: { use: () => undefined },
    declareMoves: async () => undefined,
    copies: new Set(),
    isolations: new Isolations(),
    crowd: new Crowd(),
    putAside: new CallsPutAside(async () => 1),
  };
  return new SessionDelivery(source, received, { receiver: surroundings, receivedAt: 0 });
}

const records: readonly (readonly [alone: boolean, looked: DeliveryHistory, lost: DeliveryHistory])[] = [
  [false, "first", "redelivered"],
  [true, "isolated", "isolated-redelivered"],
];

describe("a message that was delivered before", () => {
  it("is what it was if it was only looked at, where the broker counts that apart", () => {
    for (const [alone, looked, lost] of records) {
      const source: Source = { lane: "inbox", alone };
      expect(delivered(source, { "x-acquired-count": 3 })).toMatchObject({
        history: looked,
        redelivered: alone,
      });
      expect(delivered(source, { "x-acquired-count": 2, "x-delivery-count": 1 }).history).toBe(lost);
      // Older brokers have one count for both, and classic queues none.
      expect(delivered(source, { "x-delivery-count": 1 }).history).toBe(lost);
      expect(delivered({ lane: "calls", alone }, {}).history).toBe(lost);
    }
  });
});

it("names the queue that it came from in its dead letter; a call, which may have come in a batch, that of its lane", async () => {
  for (const [lane, queue] of [
    ["inbox", "the queue it came from"],
    ["instance", "the queue it came from"],
    ["calls", "the queue of its lane"],
  ] as const) {
    const published: Message[] = [];
    const failure = { error: new Error("no"), retry: "final" } as const;
    const delivery = delivered({ lane, alone: false }, {}, published);
    expect(await delivery.settle({ kind: "forward", moves: [{ kind: "dead-letter", failure }] })).toBe(true);
    expect(published.map(({ properties }) => properties.headers?.[header.queue])).toEqual([queue]);
  }
});
