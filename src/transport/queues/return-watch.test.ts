import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { ConfluoError } from "../../errors.ts";
import { Namespace } from "../../protocol/topology.ts";
import type { AmqpClient } from "../amqp-client.ts";
import { fakeClient } from "../session/fake-client.test-support.ts";
import { DelayLevels } from "./delay-levels.ts";
import { ReturnWatch } from "./return-watch.ts";

/** Waits in quarters of a second. */
const SHORTEST = 1;
const SECOND = 4;
const LONG = 4_096;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A watch over a connection whose levels bring nothing back unless they are told to. */
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
  const watch = new ReturnWatch({
    namespace,
    levels: new DelayLevels(namespace),
    client,
    connections: 1,
    declareShared: async () => undefined,
    newId: () => "id",
    warn: (_details, line) => void lines.push(line),
  });
  return { watch, sent, lines, state };
}

it("finds a level from which nothing comes back, and that it does again", async () => {
  const { watch, sent, lines, state } = watching();
  watch.used(SHORTEST);
  watch.used(SHORTEST);
  expect(watch.stalled).toEqual([]);
  await vi.advanceTimersByTimeAsync(7_000);
  expect(sent).toEqual([`c.wait.0 ${"0.".repeat(25)}1.c.returned.0`]);
  expect(watch.stalled).toEqual(["c.wait.0"]);
  state.returns = true;
  await vi.advanceTimersByTimeAsync(25_000);
  expect(watch.stalled).toEqual([]);
  expect(lines).toEqual([
    expect.stringContaining("No message returns"),
    expect.stringContaining("return from c.wait.0 again"),
  ]);
  watch.end();
});

it("says nothing of levels that flow, and looks no more when they are not used", async () => {
  const { watch, sent, lines, state } = watching();
  state.returns = true;
  watch.used(SECOND);
  await vi.advanceTimersByTimeAsync(400_000);
  const { length } = sent;
  await vi.advanceTimersByTimeAsync(400_000);
  expect([watch.stalled, lines, sent.length]).toEqual([[], [], length]);
  expect(vi.getTimerCount()).toBe(0);
  watch.used(SECOND);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(sent).toHaveLength(length + 1);
  watch.end();
});

it("leaves no timer behind, and claims nothing, when the wire goes or does not do what it is asked", async () => {
  const { watch } = watching();
  watch.used(SHORTEST);
  await vi.advanceTimersByTimeAsync(999);
  watch.used(SECOND); // is not looked at yet
  await vi.advanceTimersByTimeAsync(1);
  watch.end();
  await vi.advanceTimersByTimeAsync(1);
  expect([vi.getTimerCount(), watch.stalled]).toEqual([0, []]);
  watch.close();
  watch.used(SHORTEST); // such as by what still ends while the session closes
  expect(vi.getTimerCount()).toBe(0);
});

it("asks no more often for all the messages that wait while it cannot look, and not again where it may not", async () => {
  for (const [error, asked] of [
    [new Error("no answer"), 4],
    [new ConfluoError("ACCESS_REFUSED", "no right"), 1],
  ] as const) {
    const declareQueue = vi.fn(() => Promise.reject(error));
    const { watch, lines } = watching({ declareQueue });
    for (let ms = 0; ms < 60_000; ms += 1_000) {
      watch.used(SHORTEST);
      watch.used(LONG);
      await vi.advanceTimersByTimeAsync(1_000);
    }
    expect([declareQueue.mock.calls.length, watch.stalled, lines]).toEqual([asked, [], []]);
    watch.close();
    await vi.advanceTimersByTimeAsync(1);
    expect(vi.getTimerCount()).toBe(0);
  }
});

it("does not hold the process", async () => {
  vi.useRealTimers();
  const { watch } = watching();
  const before = process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
  watch.used(SHORTEST);
  await new Promise((resolve) => setImmediate(resolve));
  expect(process.getActiveResourcesInfo().filter((name) => name === "Timeout").length).toBe(before);
  watch.close();
});
