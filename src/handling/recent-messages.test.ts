import { crc32 } from "node:zlib";
import { describe, expect, it, vi } from "vitest";
import { silentLogger } from "../logging/logger.ts";
import { readEnvelope } from "../protocol/envelope.ts";
import type { Message } from "../protocol/message.ts";
import { Registry } from "../registry/registry.ts";
import type { Outcome } from "../retry/outcome.ts";
import { defaultRetry } from "../retry/policy.ts";
import { HandlerStatsRecorder } from "../statistics/handler-stats.ts";
import { SessionSlot } from "../transport/session-slot.ts";
import type { Delivery, DeliveryHistory, Session } from "../transport/transport.ts";
import { Dispatcher } from "./dispatcher.ts";

/** More than any of this takes, also on a busy machine. */
const LONG_MS = 60_000;

/** What deliveries come over: a channel that the test can break, or of which it can say that the broker has all. */
class FakeChannel {
  hold: Delivery["hold"] = "held";
}

/** A service with a route and two subscriptions to one event, and deliveries over channels. */
function serviceWith(handler: () => unknown, subscribers: readonly (() => unknown)[] = []) {
  const registry = new Registry();
  const entry = { contract: undefined, timeoutMs: LONG_MS, retry: defaultRetry };
  registry.routes.add("/", { pattern: "/", handler, tally: new HandlerStatsRecorder(), ...entry });
  for (const [n, subscriber] of subscribers.entries()) {
    const pattern = n === 0 ? "/e" : "/#";
    registry.subscriptions.add(pattern, "service", {
      pattern,
      handler: subscriber,
      tally: new HandlerStatsRecorder(),
      ...entry,
    });
  }
  const replies: string[] = [];
  const sessions = new SessionSlot(() => Promise.reject(new Error("nothing is sent")));
  sessions.maxBodyBytes = 1_000;
  sessions.session = {
    allow: () => undefined,
    reply: (to: string, { properties }: Message) => {
      replies.push([to, properties.headers?.["confluo-error"]].filter(Boolean).join(" "));
    },
  } as unknown as Session;
  const dispatch = new Dispatcher({
    service: "s",
    instance: "i",
    registry,
    logger: silentLogger,
    sessions,
    callTimeoutMs: LONG_MS,
    unhandledRetryMs: 600_000,
    mostCalls: 128,
    mostWaiting: 8_192,
  });
  const deliver = async (record: DeliveryHistory, past: Partial<Past> = {}): Promise<Outcome | undefined> => {
    const { lane = "inbox", messageId = "m", body = "1", headers, type = "/", on = new FakeChannel() } = past;
    const stands = past.stands ?? true;
    const settle = vi.fn((_outcome: Outcome) => (past.isSettledAtOnce ? stands : Promise.resolve(stands)));
    const properties = {
      type,
      messageId,
      ...(headers === undefined ? {} : { headers }),
      ...(lane === "calls" ? { replyTo: "q", correlationId: messageId } : {}),
      ...(past.expiration === undefined ? {} : { expiration: past.expiration }),
    };
    const message = { body: typeof body === "string" ? new TextEncoder().encode(body) : body, properties };
    const envelope = readEnvelope(message, { lane, eventKey: past.eventKey, newId: () => "new" });
    dispatch.handle({
      lane,
      message,
      envelope,
      history: record,
      redelivered: record !== "first",
      receivedAt: performance.now(),
      size: message.body.length,
      get hold() {
        return on.hold;
      },
      settle,
    });
    await vi.waitFor(() => expect(settle).toHaveBeenCalled(), LONG_MS);
    await new Promise(setImmediate);
    return settle.mock.calls[0]?.[0];
  };
  /** Delivers over a channel that is gone afterwards. */
  const deliverAndLose = async (record: DeliveryHistory, past: Partial<Past> = {}) => {
    const on = new FakeChannel();
    const outcome = await deliver(record, { ...past, on });
    on.hold = "lost";
    return outcome;
  };
  return { deliver, deliverAndLose, dispatch, replies };
}

/** A handler that runs until the test lets it end. */
function heldHandler() {
  let finish: () => void = () => undefined;
  const held = new Promise<void>((resolve) => {
    finish = resolve;
  });
  return { handler: vi.fn(() => held), finish };
}

interface Past {
  readonly lane: "calls" | "inbox";
  readonly messageId: string;
  /** Whether the outcome stood, as far as this instance knows. */
  readonly stands: boolean;
  /** Whether `settle` returns that at once, and no promise of it. */
  readonly isSettledAtOnce: boolean;
  readonly body: string | Uint8Array;
  readonly headers: Readonly<Record<string, string>>;
  readonly type: string;
  readonly eventKey: string;
  readonly expiration: string;
  readonly on: FakeChannel;
}

describe("what the broker delivers again", () => {
  it("is acknowledged and not run again if it was handled here and the acknowledgement was lost", async () => {
    const handler = vi.fn();
    const { deliverAndLose } = serviceWith(handler);
    await deliverAndLose("first");
    for (const record of ["redelivered", "isolated-redelivered", "isolated"] as const)
      expect(await deliverAndLose(record)).toEqual({ kind: "done" });
    expect(handler).toHaveBeenCalledTimes(1);
  });

  it("is put aside to run alone if it was not begun here, or is another message", async () => {
    const handler = vi.fn();
    const { deliver, deliverAndLose } = serviceWith(handler);
    expect(await deliver("redelivered")).toMatchObject({ kind: "isolate", deaths: 0 });
    await deliverAndLose("first");
    const others: Partial<Past>[] = [
      { messageId: "other" },
      { body: "2" },
      { headers: { "confluo-replay": "r-1" } },
      { headers: { "confluo-query": "a=1" } },
      { headers: { tenant: "other" } },
    ];
    for (const other of others)
      expect(await deliver("redelivered", other)).toMatchObject({ kind: "isolate" });
    expect(handler).toHaveBeenCalledTimes(1);
  });

  it("is put aside if it only went round here before: another instance may have begun it since", async () => {
    const { deliver, deliverAndLose } = serviceWith(() => undefined);
    const round = { kind: "forward", moves: [{ kind: "retry-unhandled" }] };
    expect(await deliverAndLose("first", { type: "/new" })).toMatchObject(round);
    expect(await deliver("redelivered", { type: "/new" })).toEqual({ kind: "done" }); // its copy goes round already
    const headers = { "confluo-unclaimed": "250" };
    expect(await deliver("redelivered", { type: "/new", headers })).toMatchObject({ kind: "isolate" });
  });

  it("waits for the run that goes on here, and ends as that ends", async () => {
    const { handler, finish } = heldHandler();
    const { deliver } = serviceWith(handler);
    const on = new FakeChannel();
    const first = deliver("first", { on });
    on.hold = "lost";
    const again = deliver("redelivered");
    await new Promise(setImmediate);
    finish();
    expect(await first).toEqual({ kind: "done" });
    expect(await again).toEqual({ kind: "done" });
    expect(handler).toHaveBeenCalledTimes(1);
  });

  it("gets the outcome that the broken connection did not let through", async () => {
    const handler = vi.fn(async () => {
      await new Promise(setImmediate);
      throw new Error("no");
    });
    for (const before of ["its end", "its redelivery"] as const) {
      handler.mockClear();
      const { deliver } = serviceWith(handler);
      const on = new FakeChannel();
      const first = deliver("first", { stands: false, on });
      if (before === "its redelivery") await first;
      on.hold = "lost";
      const again = await deliver("redelivered");
      expect(again).toMatchObject({ kind: "forward", moves: [{ kind: "retry" }] });
      expect(again).toBe(await first);
      expect(handler).toHaveBeenCalledTimes(1);
    }
  });

  it("gets an outcome once, however often it comes", async () => {
    const handler = vi.fn(() => {
      throw new Error("no");
    });
    const { deliverAndLose } = serviceWith(handler);
    await deliverAndLose("first", { stands: false });
    expect(await deliverAndLose("redelivered")).toMatchObject({ kind: "forward" });
    expect(await deliverAndLose("redelivered")).toEqual({ kind: "done" });
    expect(handler).toHaveBeenCalledTimes(1);
  });

  it("is the same call whatever its body looks like: one of several that came together is written anew", async () => {
    const { handler, finish } = heldHandler();
    const { deliver, replies } = serviceWith(handler);
    const on = new FakeChannel();
    const first = deliver("first", { lane: "calls", body: '{"a":1}', on });
    on.hold = "lost";
    const again = deliver("isolated-redelivered", { lane: "calls", body: '{"a": 1}' });
    await new Promise(setImmediate);
    finish();
    expect(await first).toEqual({ kind: "done" });
    expect(await again).toEqual({ kind: "done" });
    expect([handler.mock.calls.length, replies]).toEqual([1, ["q"]]);
  });

  it("is remembered as long as many others are", async () => {
    const { deliver } = serviceWith(() => undefined);
    const gone = new FakeChannel();
    gone.hold = "lost";
    for (let n = 0; n < 1_000; n += 1) await deliver("first", { messageId: `m-${n}`, on: gone });
    for (const n of [0, 500, 999])
      expect(await deliver("redelivered", { messageId: `m-${n}` })).toEqual({ kind: "done" });
    expect(await deliver("redelivered", { messageId: "m-1000" })).toMatchObject({ kind: "isolate" });
  });

  it("is forgotten after a while, so that memory stays bounded", async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    try {
      const { deliver, deliverAndLose } = serviceWith(() => undefined);
      await deliverAndLose("first");
      await deliverAndLose("first", { messageId: "other" });
      expect(await deliver("redelivered")).toEqual({ kind: "done" });
      vi.advanceTimersByTime(601_000);
      expect(await deliver("redelivered", { messageId: "other" })).toMatchObject({ kind: "isolate" });
    } finally {
      vi.useRealTimers();
    }
  });
});

describe("what only looks like a message that was handled here", () => {
  it("is not taken for it while its channel stands, nor once the broker has its acknowledgement", async () => {
    const handler = vi.fn();
    const { deliver } = serviceWith(handler);
    const on = new FakeChannel();
    await deliver("first", { on });
    expect(await deliver("redelivered")).toMatchObject({ kind: "isolate" });
    on.hold = "released";
    expect(await deliver("redelivered")).toMatchObject({ kind: "isolate" });
    expect(await deliver("isolated")).toEqual({ kind: "done" });
    expect(handler).toHaveBeenCalledTimes(2);
  });

  it("is not taken for one that is running here over a channel that stands", async () => {
    const { handler, finish } = heldHandler();
    const { deliver } = serviceWith(handler);
    for (const lane of ["inbox", "calls"] as const) {
      void deliver("first", { lane });
      expect(await deliver("redelivered", { lane })).toMatchObject({ kind: "isolate" });
    }
    finish();
  });

  it("is taken for it once, when its acknowledgement may be lost", async () => {
    const handler = vi.fn();
    const { deliver, deliverAndLose } = serviceWith(handler);
    await deliverAndLose("first");
    await deliverAndLose("first");
    const outcomes: unknown[] = [];
    for (let times = 0; times < 3; times += 1) outcomes.push((await deliver("redelivered"))?.kind);
    expect(outcomes).toEqual(["done", "done", "isolate"]);
  });

  it("is told from it by its body, whatever that has in common", async () => {
    const { deliver, deliverAndLose } = serviceWith(() => undefined);
    // As many devices frame what they say: whatever it is, the whole has one CRC-32.
    const framed = (text: string): Uint8Array => {
      const frame = Buffer.from(`${text}....`);
      frame.writeUInt32LE(crc32(text), text.length);
      return frame;
    };
    const long = "x".repeat(100_000);
    const pairs: readonly (readonly [string | Uint8Array, string | Uint8Array])[] = [
      [framed("20.5"), framed("21.0")],
      [`"${long}1"`, `"${long}2"`],
    ];
    for (const [first, second] of pairs) {
      await deliverAndLose("first", { body: first });
      expect(await deliver("redelivered", { body: second })).toMatchObject({ kind: "isolate" });
      expect(await deliver("redelivered", { body: first })).toEqual({ kind: "done" });
    }
  });
});

describe("an event that another instance put aside, for each of its subscriptions", () => {
  const event = { eventKey: "e" };
  const copy = (subscription: string): Partial<Past> => ({
    headers: { "confluo-kind": "event", "confluo-path": "/e", "confluo-subscription": subscription },
  });

  it("ends as the run that goes on here, each copy once and for its own subscription", async () => {
    const subscriber = vi.fn();
    const failing = vi.fn(() => {
      throw new Error("no");
    });
    const { deliver, deliverAndLose } = serviceWith(() => undefined, [subscriber, failing]);
    await deliverAndLose("first", { ...event, stands: false });
    expect(await deliver("isolated", copy("/e"))).toEqual({ kind: "done" });
    const retried = await deliver("isolated", copy("/#"));
    expect(retried).toMatchObject({ kind: "forward", moves: [{ failure: { subscription: "/#" } }] });
    expect(retried).toHaveProperty("moves.length", 1);
    expect([subscriber.mock.calls.length, failing.mock.calls.length]).toEqual([1, 1]);
    // Another of its like.
    await deliver("isolated", copy("/e"));
    expect(subscriber).toHaveBeenCalledTimes(2);
  });

  it("is run here for a subscription that the first run was not for", async () => {
    const subscriber = vi.fn();
    const late = vi.fn();
    const { deliver, deliverAndLose } = serviceWith(() => undefined, [subscriber]);
    await deliverAndLose("first", event);
    await deliver("isolated", copy("/late"));
    expect([subscriber.mock.calls.length, late.mock.calls.length]).toEqual([1, 0]);
    expect(await deliver("isolated", copy("/e"))).toEqual({ kind: "done" });
    expect(subscriber).toHaveBeenCalledTimes(1);
  });
});

describe("a call that comes again", () => {
  const call = { lane: "calls", expiration: "60000" } as const;

  it("is run alone once it was answered, since the answer may be lost, too, and then no more", async () => {
    const handler = vi.fn(() => 1);
    const { deliverAndLose, replies } = serviceWith(handler);
    await deliverAndLose("first", call);
    expect(replies).toEqual(["q"]);
    expect(await deliverAndLose("redelivered", call)).toMatchObject({ kind: "isolate" });
    await deliverAndLose("isolated", call);
    expect(replies).toEqual(["q", "q"]);
    for (const record of ["isolated-redelivered", "redelivered", "isolated"] as const)
      expect(await deliverAndLose(record, call)).toEqual({ kind: "done" });
    expect(replies.slice(2)).toEqual(Array(3).fill("q INSTANCE_LOST"));
    expect(handler).toHaveBeenCalledTimes(2);
  });

  it("carries what is left of its time, as far as this instance knows", async () => {
    const { deliver, deliverAndLose } = serviceWith(() => 1);
    const before = performance.now();
    await deliverAndLose("first", { ...call, expiration: "5000" });
    const again = await deliver("redelivered", { ...call, expiration: "5000" });
    expect(again).toMatchObject({ kind: "isolate" });
    const until = again?.kind === "isolate" ? (again.until ?? 0) : 0;
    expect(until).toBeGreaterThanOrEqual(before + 5_000);
    expect(until).toBeLessThan(before + 5_000 + 500);
  });

  it("does not run when its caller is known to have given up", async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    try {
      const handler = vi.fn(() => 1);
      const { deliver, deliverAndLose } = serviceWith(handler);
      await deliverAndLose("first", { ...call, expiration: "5000" });
      vi.advanceTimersByTime(6_000);
      // A copy that another instance made, which could not know how long ago the call was made.
      expect(await deliver("isolated", { ...call, expiration: "5000" })).toEqual({ kind: "done" });
      expect(handler).toHaveBeenCalledTimes(1);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe("many that end together after their channel was lost", () => {
  // As many as are swept at once, and more: the one that starts the sweep is itself forgotten by it.
  const many = 600;

  for (const lane of ["inbox", "calls"] as const)
    for (const isSettledAtOnce of [true, false])
      it(`are all let go (${lane}, settled ${isSettledAtOnce ? "at once" : "later"})`, async () => {
        const { handler, finish } = heldHandler();
        const { deliver, dispatch } = serviceWith(handler);
        const on = new FakeChannel();
        const ended = Array.from({ length: many }, (_, n) =>
          deliver("first", { lane, messageId: `m${n}`, on, stands: false, isSettledAtOnce }),
        );
        on.hold = "lost";
        finish();
        await Promise.all(ended);
        await dispatch.idle();
        expect(dispatch.isIdle).toBe(true);
        expect(handler).toHaveBeenCalledTimes(many);
      });
});
