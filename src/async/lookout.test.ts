import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Lookout } from "./lookout.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

it("looks about every 30 s, as long as it is on, whatever comes of it", async () => {
  const look = vi.fn(async () => Promise.reject(new Error("no answer")));
  const lookout = new Lookout(look);
  await vi.advanceTimersByTimeAsync(100_000);
  expect(look).not.toHaveBeenCalled();
  lookout.begin();
  lookout.begin();
  await vi.advanceTimersByTimeAsync(120_000);
  expect(look.mock.calls.length).toBeGreaterThanOrEqual(3);
  expect(look.mock.calls.length).toBeLessThanOrEqual(5);
  const before = look.mock.calls.length;
  lookout.end();
  lookout.soon();
  await vi.advanceTimersByTimeAsync(100_000);
  expect(look).toHaveBeenCalledTimes(before);
  expect(vi.getTimerCount()).toBe(0);
});

it("looks at once when it is asked to, and again only after five seconds, however often it is asked", async () => {
  const look = vi.fn(async () => undefined);
  const lookout = new Lookout(look);
  lookout.begin();
  for (let n = 0; n < 100; n += 1) lookout.soon();
  await vi.advanceTimersByTimeAsync(10);
  expect(look).toHaveBeenCalledTimes(1);
  for (let n = 0; n < 100; n += 1) lookout.soon();
  await vi.advanceTimersByTimeAsync(4_000);
  expect(look).toHaveBeenCalledTimes(1);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(look).toHaveBeenCalledTimes(2);
  lookout.end();
});

it("does not look twice at the same time", async () => {
  const ends: (() => void)[] = [];
  const lookout = new Lookout(() => new Promise<void>((resolve) => void ends.push(resolve)));
  lookout.begin();
  lookout.soon();
  await vi.advanceTimersByTimeAsync(60_000);
  lookout.soon();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(ends).toHaveLength(1);
  ends[0]?.();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(ends).toHaveLength(2);
  lookout.end();
});
