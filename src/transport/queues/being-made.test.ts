import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { fakeClient } from "../session/fake-client.test-support.ts";
import { madeOnce, type QueueCreation } from "./being-made.ts";

/** A broker that makes quorum queues in steps, and the instances that connect to it. */
function broker(makeMs: number) {
  const listedAt = new Map<string, number>();
  const consumers = new Map<string, number>();
  const early: string[] = [];
  const consume = (queue: string): void => {
    const readyAt = (listedAt.get(queue) ?? Number.POSITIVE_INFINITY) + makeMs;
    if (queue !== "sign" && performance.now() < readyAt) early.push(queue);
    consumers.set(queue, (consumers.get(queue) ?? 0) + 1);
  };
  const client = fakeClient({
    server: { product: "RabbitMQ", version: "", capabilities: [] },
    inspectQueue: async (name) =>
      name === "sign" || listedAt.has(name)
        ? { messages: 0, consumers: consumers.get(name) ?? 0 }
        : undefined,
  });
  const wait = (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms));
  // Whoever declares first waits until the queue is made; all others are told that it is there.
  const declare = async (): Promise<void> => {
    for (const queue of ["inbox", "again"]) {
      if (listedAt.has(queue)) continue;
      listedAt.set(queue, performance.now());
      await wait(makeMs);
    }
  };
  const connect = async (): Promise<number> => {
    let isGiven = false;
    const plan: QueueCreation = {
      queues: ["inbox", "again"],
      sign: "sign",
      declareSign: async () => undefined,
      giveSign: async () => {
        isGiven = true;
        consume("sign");
      },
      isSignGiven: () => isGiven,
      isDoubtful: true,
    };
    const began = performance.now();
    await madeOnce(client, plan, declare);
    const tookMs = performance.now() - began;
    for (const queue of plan.queues) consume(queue);
    if (!isGiven) consume("sign");
    return tookMs;
  };
  return { connect, wait, early, client };
}

describe("quorum queues that are just being made", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("are consumed by none of several instances before they are ready", async () => {
    for (const apartMs of [0, 5, 30, 80, 200]) {
      const { connect, wait, early } = broker(100);
      const all = Promise.all(
        Array.from({ length: 6 }, async (_, n) => {
          await wait(n * apartMs);
          return connect();
        }),
      );
      await vi.advanceTimersByTimeAsync(5_000);
      for (const tookMs of await all) expect(tookMs).toBeLessThan(1_200);
      expect(early).toEqual([]);
    }
  });

  it("hold up no instance that is alone, nor one that comes to others that run", async () => {
    const { connect, early } = broker(10);
    const first = connect();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await first).toBeLessThan(50);
    const second = connect();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await second).toBeLessThan(10);
    expect(early).toEqual([]);
  });
});
