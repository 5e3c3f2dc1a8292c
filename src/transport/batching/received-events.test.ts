import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { EVENTS_TYPE } from "../../protocol/batch.ts";
import type { AmqpDelivery } from "../amqp-client.ts";
import { type EventOutlet, ReceivedEvents, readableEvents } from "./received-events.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A message with as many events, and what becomes of it and of them. */
function received(count: number, own: { readonly redelivered?: boolean; readonly isAlone?: boolean } = {}) {
  const entries = Array.from({ length: count }, (_, n) => ({ id: `${n}` }));
  const message = { body: Buffer.from(JSON.stringify(entries)), properties: { contentType: EVENTS_TYPE } };
  const state = { acks: 0, hold: "held" as AmqpDelivery["hold"] };
  const delivery: AmqpDelivery = {
    message,
    queue: "q",
    exchange: "e",
    key: "k",
    redelivered: own.redelivered ?? false,
    get hold() {
      return state.hold;
    },
    ack: () => {
      state.acks += 1;
    },
    acksTaken: async () => undefined,
    requeue: () => undefined,
  };
  const begun: AmqpDelivery[] = [];
  const back: AmqpDelivery[] = [];
  const outlet: EventOutlet = {
    handOver: (event) => void begun.push(event),
    giveBack: own.isAlone ? undefined : (event) => void back.push(event),
  };
  const events = new ReceivedEvents(delivery, readableEvents(message) ?? [], outlet);
  const ids = (of: readonly AmqpDelivery[]): unknown =>
    of.map(({ message: { properties } }) => properties.messageId);
  return { events, state, begun, back, ids };
}

const turn = (): Promise<unknown> => vi.advanceTimersByTimeAsync(0);

describe("the events of a message", () => {
  it("begin one after the other, and the message is acknowledged after the last", async () => {
    const { events, state, begun, ids } = received(3);
    events.begin();
    for (const n of [0, 1, 2]) {
      expect([ids(begun), state.acks, events.isBegun]).toEqual([["0", "1", "2"].slice(0, n + 1), 0, n === 2]);
      begun[n]?.ack();
      begun[n]?.ack(); // does nothing
      await turn();
    }
    expect(state.acks).toBe(1);
  });

  it("are all there at once if the message was delivered before", () => {
    const { events, state, begun } = received(3, { redelivered: true });
    events.begin();
    expect(begun).toHaveLength(3);
    for (const event of begun) event.requeue();
    expect(state.acks).toBe(1);
  });

  it("are given back if an earlier one took too long", async () => {
    const { events, begun, back, ids } = received(4);
    events.begin();
    vi.advanceTimersByTime(59_000);
    begun[0]?.ack();
    await turn();
    vi.advanceTimersByTime(2_000);
    begun[1]?.ack();
    await turn();
    expect([ids(begun), ids(back), events.isBegun]).toEqual([["0", "1"], ["2", "3"], true]);
  });

  it("stay if nobody else may have them, however long an earlier one took", async () => {
    const { events, begun, back } = received(2, { isAlone: true });
    events.begin();
    events.stop();
    vi.advanceTimersByTime(100_000);
    begun[0]?.ack();
    await turn();
    expect([begun.length, back.length]).toEqual([2, 0]);
  });

  it("have the state of their message at the broker", async () => {
    const { events, state, begun } = received(2, { redelivered: true });
    events.begin();
    state.hold = "lost";
    expect(begun[0]?.hold).toBe("lost");
    let isTaken = false;
    void begun[0]?.acksTaken?.().then(() => {
      isTaken = true;
    });
    begun[0]?.ack();
    await turn();
    expect(isTaken).toBe(false);
    begun[1]?.ack();
    await turn();
    expect(isTaken).toBe(true);
  });

  it("are none if the message cannot be read", () => {
    const properties = { contentType: EVENTS_TYPE };
    expect(readableEvents({ body: Buffer.from("[]"), properties })).toBeUndefined();
  });
});
