import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { ConfluoError } from "../../errors.ts";
import { Namespace } from "../../protocol/topology.ts";
import type { AmqpClient } from "../amqp-client.ts";
import { fakeClient } from "../session/fake-client.test-support.ts";
import { DelayLevels, SessionLevels } from "./delay-levels.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A client that notes what it declares, in order, and may refuse it. */
function declaring(own: { refuses?: boolean } = {}): {
  readonly client: AmqpClient;
  readonly declared: string[];
} {
  const declared: string[] = [];
  const note = (what: string): void => {
    if (own.refuses) throw new ConfluoError("ACCESS_REFUSED", "no right");
    declared.push(what.replace("c.wait.", ""));
  };
  const client = fakeClient({
    declareExchange: async ({ name, passesTo }) => note(`exchange ${name} to ${passesTo?.exchange}`),
    declareQueue: async ({ name }) => {
      note(`queue ${name}`);
      return name;
    },
    bind: async (queue, _exchange, key) => note(`bind ${queue} ${key.length}`),
  });
  return { client, declared };
}

const levelsOf = (): DelayLevels => new DelayLevels(new Namespace("c"));

it("declares the exchanges up to the highest digit, and the queues of the set digits, from the lowest on", async () => {
  const { client, declared } = declaring();
  const levels = levelsOf();
  await levels.declare(client, 5);
  expect(declared).toEqual([
    "exchange 0 to c.due",
    "exchange 1 to c.wait.0",
    "exchange 2 to c.wait.1",
    "queue 0",
    "bind 0 53",
    "queue 2",
    "bind 2 49",
  ]);
});

it("declares what is missing, and nothing twice, on each connection", async () => {
  const { client, declared } = declaring();
  const levels = levelsOf();
  await Promise.all([levels.declare(client, 5), levels.declare(client, 4), levels.declare(client, 6)]);
  expect(declared.filter((what) => what.startsWith("queue"))).toEqual([
    "queue 0",
    "queue 2",
    "queue 1",
    "queue 2",
  ]);
  for (const quarters of [1, 2, 3, 4, 5, 6, 7]) expect(levels.declare(client, quarters)).toBeUndefined();
  const other = declaring();
  await levels.declare(other.client, 1);
  expect(other.declared).toContain("queue 0");
});

it("tells a refusal to whoever needs the level, and tries again for the next", async () => {
  const own = { refuses: true };
  const { client, declared } = declaring(own);
  const levels = levelsOf();
  const both = [levels.declare(client, 1), levels.declare(client, 1)];
  for (const each of both) await expect(each).rejects.toMatchObject({ code: "ACCESS_REFUSED" });
  own.refuses = false;
  await levels.declare(client, 1);
  expect(declared).toContain("queue 0");
  expect(levels.declare(client, 1)).toBeUndefined();
});

it("declares again what somebody has found missing", async () => {
  const { client, declared } = declaring();
  const levels = levelsOf();
  await levels.declare(client, 1);
  levels.forget();
  await levels.declare(client, 1);
  expect(declared.filter((what) => what === "queue 0")).toHaveLength(2);
});

it("declares again each minute what is in use, in the background", async () => {
  const own: { refuses?: boolean } = {};
  const { client, declared } = declaring(own);
  const levels = levelsOf();
  await levels.declare(client, 3);
  declared.length = 0;
  await vi.advanceTimersByTimeAsync(61_000);
  expect(levels.declare(client, 2)).toBeUndefined();
  await vi.advanceTimersByTimeAsync(1);
  expect(declared).toContain("queue 1");
  declared.length = 0;
  expect(levels.declare(client, 2)).toBeUndefined();
  await vi.advanceTimersByTimeAsync(1);
  expect(declared).toEqual([]);
  own.refuses = true;
  await vi.advanceTimersByTimeAsync(61_000);
  expect(levels.declare(client, 2)).toBeUndefined();
  await vi.advanceTimersByTimeAsync(1);
  await expect(levels.declare(client, 2)).rejects.toMatchObject({ code: "ACCESS_REFUSED" });
});

it("looks for an inbox once on each connection, and again until it exists", async () => {
  let exists = false;
  const inspectQueue = vi.fn(async () => (exists ? { messages: 0, consumers: 0 } : undefined));
  const client = fakeClient({ inspectQueue });
  const levels = levelsOf();
  expect(await Promise.all([levels.isThere(client, "q"), levels.isThere(client, "q")])).toEqual([
    false,
    false,
  ]);
  expect(inspectQueue).toHaveBeenCalledTimes(1);
  exists = true;
  for (let n = 0; n < 3; n += 1) expect(await levels.isThere(client, "q")).toBe(true);
  expect(inspectQueue).toHaveBeenCalledTimes(2);
  expect(await levels.isThere(fakeClient({ inspectQueue }), "q")).toBe(true);
  expect(inspectQueue).toHaveBeenCalledTimes(3);
});

/** Waits in quarters of a second. */
const SHORTEST = 1;
const SECOND = 4;
const LONG = 4_096;

/** The levels of a session. Nothing comes back from them unless they are told to. */
function watching(own: Partial<AmqpClient> = {}) {
  const sent: string[] = [];
  const lines: string[] = [];
  const state = { returns: false };
  const client = fakeClient({
    publish: ({ exchange, key }, _message, settled) => {
      sent.push(`${exchange} ${key}`);
      settled();
    },
    inspectQueue: async () => ({ messages: state.returns ? 1 : 0, consumers: 0 }),
    ...own,
  });
  const namespace = new Namespace("c");
  const levels = new SessionLevels({
    namespace,
    levels: new DelayLevels(namespace),
    client,
    warn: (_details, line) => void lines.push(line),
  });
  const use = async (quarters: number): Promise<void> => levels.use(client, quarters);
  return { levels, use, sent, lines, state };
}

it("finds a level from which nothing comes back, and that it does again", async () => {
  const { levels, use, sent, lines, state } = watching();
  await use(SHORTEST);
  await use(SHORTEST);
  expect(levels.stalled).toEqual([]);
  await vi.advanceTimersByTimeAsync(7_000);
  expect(sent).toEqual([`c.wait.0 ${"0.".repeat(25)}1.c.returned.0`]);
  expect(levels.stalled).toEqual(["c.wait.0"]);
  state.returns = true;
  await vi.advanceTimersByTimeAsync(25_000);
  expect(levels.stalled).toEqual([]);
  expect(lines).toEqual([
    expect.stringContaining("No message returns"),
    expect.stringContaining("return from c.wait.0 again"),
  ]);
  levels.end();
});

it("says nothing of levels that flow, and looks no more when they are not used", async () => {
  const { levels, use, sent, lines, state } = watching();
  state.returns = true;
  await use(SECOND);
  await vi.advanceTimersByTimeAsync(400_000);
  const { length } = sent;
  await vi.advanceTimersByTimeAsync(400_000);
  expect([levels.stalled, lines, sent.length]).toEqual([[], [], length]);
  expect(vi.getTimerCount()).toBe(0);
  await use(SECOND);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(sent).toHaveLength(length + 1);
  levels.end();
});

it("leaves no timer behind, and claims nothing, when the wire goes or does not do what it is asked", async () => {
  const { levels, use } = watching();
  await use(SHORTEST);
  await vi.advanceTimersByTimeAsync(999);
  await use(SECOND); // is not looked at yet
  await vi.advanceTimersByTimeAsync(1);
  levels.end();
  await vi.advanceTimersByTimeAsync(1);
  expect([vi.getTimerCount(), levels.stalled]).toEqual([0, []]);
  levels.close();
  await use(SHORTEST); // such as by what still ends while the session closes
  expect(vi.getTimerCount()).toBe(0);
});

it("asks no more often for all the messages that wait while it cannot look, and not again where it may not", async () => {
  for (const [error, asked] of [
    [new Error("no answer"), 4],
    [new ConfluoError("ACCESS_REFUSED", "no right"), 1],
  ] as const) {
    let tries = 0;
    const declareQueue = async ({ name = "" }): Promise<string> => {
      if (!name.startsWith("c.returned.")) return name;
      tries += 1;
      throw error;
    };
    const { levels, use, lines } = watching({ declareQueue });
    for (let ms = 0; ms < 60_000; ms += 1_000) {
      await use(SHORTEST);
      await use(LONG);
      await vi.advanceTimersByTimeAsync(1_000);
    }
    expect([tries, levels.stalled, lines]).toEqual([asked, [], []]);
    levels.close();
    await vi.advanceTimersByTimeAsync(1);
    expect(vi.getTimerCount()).toBe(0);
  }
});

it("does not hold the process", async () => {
  vi.useRealTimers();
  const { levels, use } = watching();
  const before = process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
  await use(SHORTEST);
  await new Promise((resolve) => setImmediate(resolve));
  expect(process.getActiveResourcesInfo().filter((name) => name === "Timeout").length).toBe(before);
  levels.close();
});
