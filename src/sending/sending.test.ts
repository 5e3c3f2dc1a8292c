import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, it, vi } from "vitest";
import { Gate } from "../async/gate.ts";
import { command } from "../contract/command.ts";
import { diagnosticsChannels } from "../diagnostics.ts";
import { ConfluoError } from "../errors.ts";
import { silentLogger } from "../logging/logger.ts";
import { DelayRecorder } from "../statistics/delays.ts";
import { UseRecorder } from "../statistics/uses.ts";
import { schemaOf } from "../testing/schema-of.ts";
import { SessionSlot } from "../transport/session-slot.ts";
import type { Rejection, Session } from "../transport/transport.ts";
import { Caller } from "./caller.ts";
import { MessagePreparer } from "./prepare-message.ts";
import { Publisher } from "./publisher.ts";

/** The requesting side of a service, on a link that takes nothing until it is relieved. */
function held(own: Partial<Session> = {}) {
  const gate = new Gate();
  let congestion: Gate | undefined = gate;
  const relieve = (): void => {
    congestion = undefined;
    gate.open();
  };
  const published = vi.fn((..._given: unknown[]) => undefined);
  const link = {
    connected: true,
    replyTo: "q",
    lookForQueues: () => undefined,
    get congestion() {
      return congestion;
    },
    call: (service: string, _message: unknown, _settled: unknown) => published(service),
    send: (service: string, _message: unknown, settled: () => void) => {
      published(service);
      setImmediate(settled);
    },
    publish: (key: string, _message: unknown, settled: () => void) => {
      published(key);
      setImmediate(settled);
    },
    ...own,
  } as unknown as Session;
  const delays = new DelayRecorder();
  const sessions = new SessionSlot(async () => link);
  sessions.ready = link;
  const parts = {
    service: "s",
    instance: "i",
    logger: silentLogger,
    timeoutMs: 1_000,
    batching: { maxCalls: 1, maxBytes: 65_536 },
    preparer: new MessagePreparer({ logger: silentLogger, sessions, validates: true }),
    uses: new UseRecorder(),
    delays,
    hasInbox: () => false,
    dispatcher: { letGo: () => undefined },
    sessions,
  };
  const caller = new Caller(parts);
  const publisher = new Publisher(parts);
  const verbs = {
    // As a service does: what it throws is a rejection.
    call: async (options: object, body?: unknown) => caller.call("a", ["/", body, options]),
    send: async (options: object, body?: unknown) => publisher.send("a", ["/", body, options]),
    publish: async (options: object, body?: unknown) => publisher.publish("/e", [body, options]),
  };
  const rejectAll = (): void => {
    const error = new ConfluoError("CONNECTION_LOST", "The connection broke.");
    for (const each of [caller, publisher]) for (const message of each.inFlight.list()) message.reject(error);
  };
  const idle = async (): Promise<void> => {
    await caller.inFlight.empty();
    await publisher.inFlight.empty();
  };
  return { verbs, published, relieve, publisher, idle, rejectAll, link, delays };
}

describe("a publish whose confirm was lost with the connection", () => {
  it("goes out again without another check of its body", async () => {
    const { publisher, relieve, link } = held();
    relieve();
    const outcomes: (Rejection | undefined)[] = ["lost", undefined];
    link.send = (_service, _message, settled) => void setImmediate(settled, outcomes.shift());
    const check = vi.fn((value: unknown) => ({ value: value as number }));
    const contract = command("a", "/", { input: schemaOf<number, number>("a number", check) });
    await publisher.send(contract, [1]);
    expect([outcomes, check.mock.calls]).toEqual([[], [[1]]]);
  });
});

describe("a publish that the broker refuses without a reason", () => {
  it("goes out twice more, and rejects after that", async () => {
    for (const [times, outcome] of [
      [2, undefined],
      [3, expect.objectContaining({ code: "UNAVAILABLE" })],
    ] as const) {
      const { verbs, relieve, link } = held();
      relieve();
      const publish = vi.fn((_key: string, _message: unknown, settled: (rejection?: Rejection) => void) => {
        setImmediate(settled, publish.mock.calls.length <= times ? "refused" : undefined);
      });
      link.publish = publish;
      expect(await verbs.publish({}).catch((error: unknown) => error)).toEqual(outcome);
      expect(publish).toHaveBeenCalledTimes(3);
      expect(new Set(publish.mock.calls.map(([, message]) => message)).size).toBe(1);
    }
  });
});

describe("a delayed command", () => {
  it("waits for what is left of its delay each time it goes out, and is counted once it is taken", async () => {
    const waits: number[] = [];
    const { verbs, relieve, link, delays } = held();
    const delay = vi.fn(
      ({ waitMs }: { waitMs: number }, _message: unknown, settled: (rejection?: Rejection) => void) => {
        waits.push(waitMs);
        setImmediate(settled, waits.length === 1 ? "lost" : undefined);
      },
    );
    link.delay = delay;
    const sent = verbs.send({ delayMs: 5_000 });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect([waits, delays.read()]).toEqual([[], []]);
    relieve();
    await sent;
    const [first = 0, second = 0] = waits;
    expect(first).toBeLessThanOrEqual(4_985);
    expect(second).toBeLessThanOrEqual(first - 45); // it is sent again after 50 ms
    expect(delays.read()).toMatchObject([{ service: "a", count: 1 }]);
    expect(delay.mock.calls[0]?.[0]).toMatchObject({ service: "a" });
  });
});

describe("while the broker takes nothing more", () => {
  it("what is sent waits, and goes out when it takes again", async () => {
    const { verbs, published, relieve } = held();
    const sent = [verbs.send({}), verbs.publish({})];
    const called = verbs.call({ timeoutMs: 200 }).catch((error: unknown) => error);
    await new Promise(setImmediate);
    expect(published).not.toHaveBeenCalled();
    relieve();
    await Promise.all(sent);
    expect(published).toHaveBeenCalledTimes(3);
    expect(await called).toMatchObject({ code: "TIMEOUT" }); // nobody answers here
  });

  it("what is sent rejects at its deadline or signal, and never goes out", async () => {
    const { verbs, published, relieve, idle } = held();
    for (const verb of Object.values(verbs)) {
      await expect(verb({ timeoutMs: 20 })).rejects.toMatchObject({ code: "TIMEOUT" });
      const stop = new AbortController();
      const cancelled = verb({ signal: stop.signal });
      stop.abort();
      await expect(cancelled).rejects.toMatchObject({ code: "CANCELLED" });
    }
    relieve();
    await idle();
    await new Promise(setImmediate);
    expect(published).not.toHaveBeenCalled();
  });

  it("nothing is kept of what its sender has given up on", async () => {
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    const { verbs, idle } = held();
    const before = process.memoryUsage().arrayBuffers;
    for (const verb of Object.values(verbs)) {
      for (let n = 0; n < 32; n += 1) {
        const error = await verb({ timeoutMs: 1 }, new Uint8Array(1024 * 1024)).catch(
          (reason: unknown) => reason,
        );
        expect(error).toMatchObject({ code: "TIMEOUT" });
      }
    }
    await idle();
    // Freeing takes a few turns.
    const keptBytes = (): number => process.memoryUsage().arrayBuffers - before;
    for (let turns = 0; turns < 50 && keptBytes() > 24 * 1024 * 1024; turns += 1) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      collect();
    }
    expect(keptBytes()).toBeLessThan(24 * 1024 * 1024); // of 96
  });

  it("no more waits than memory bears, and then again; what is too much is told to no listener", async () => {
    const { verbs, rejectAll } = held();
    const { start, end } = diagnosticsChannels.outgoing;
    let underWay = 0;
    const count: [string, () => number][] = [
      [start, () => ++underWay],
      [end, () => --underWay],
    ];
    for (const [name, listener] of count) subscribe(name, listener);
    try {
      for (const verb of Object.values(verbs)) {
        const most = Promise.allSettled(Array.from({ length: 65_536 }, () => verb({})));
        await expect(verb({})).rejects.toMatchObject({ code: "OVERLOADED" });
        expect(underWay).toBe(65_536);
        rejectAll();
        await most;
        expect(underWay).toBe(0);
        await expect(verb({ timeoutMs: 10 })).rejects.toMatchObject({ code: "TIMEOUT" });
      }
    } finally {
      for (const [name, listener] of count) unsubscribe(name, listener);
    }
    // Some 200,000 promises.
  }, 120_000);
});

describe("a call that is returned", () => {
  /** Makes a call on a link that returns the first so many messages. Resolves with its code and with what was sent. */
  async function outcome(returns: number, own: Partial<Session>, options: object = {}) {
    const sent: { readonly atMs: number; readonly expiration: string | undefined }[] = [];
    const began = performance.now();
    const { verbs, relieve } = held({
      ...own,
      call: (_service, { properties: { expiration } }, settled) => {
        sent.push({ atMs: performance.now() - began, expiration });
        const isReturned = sent.length <= returns;
        setImmediate(() => settled(isReturned ? "returned" : undefined));
      },
    });
    relieve();
    const code = await verbs.call(options, "body").then(
      () => "answered",
      (error: ConfluoError) => error.code,
    );
    return { code, sent };
  }

  it("goes out once more where its queue may be being made anew, with what is left of its time", async () => {
    const { code, sent } = await outcome(1, { mayReturnCalls: true });
    expect([code, sent.length]).toEqual(["TIMEOUT", 2]); // nobody answers here
    expect(sent[1]?.atMs).toBeGreaterThan(90);
    expect(Number(sent[1]?.expiration)).toBeLessThanOrEqual(Number(sent[0]?.expiration) - 90);
  });

  it("has no service at once when there is hardly time to go out once more", async () => {
    const { code, sent } = await outcome(1, { mayReturnCalls: true }, { timeoutMs: 150 });
    expect([code, sent.length]).toEqual(["NO_SUCH_SERVICE", 1]);
  });

  it("has no service when it is returned again, or where queues stay", async () => {
    const again = await outcome(2, { mayReturnCalls: true });
    expect([again.code, again.sent.length]).toEqual(["NO_SUCH_SERVICE", 2]);
    const stays = await outcome(1, { mayReturnCalls: false });
    expect([stays.code, stays.sent.length]).toEqual(["NO_SUCH_SERVICE", 1]);
  });
});
