import { afterEach, expect, it, vi } from "vitest";
import { AdaptiveBatchLimit } from "./batch-limit.ts";

afterEach(() => void vi.restoreAllMocks());

/** A clock, and an event loop that is busy for as long as a test says. */
function clocked() {
  let nowMs = 1_000;
  let activeMs = 500;
  vi.spyOn(performance, "now").mockImplementation(() => nowMs);
  vi.spyOn(performance, "eventLoopUtilization").mockImplementation((before) => ({
    idle: 0,
    active: activeMs - (before?.active ?? 0),
    utilization: 0,
  }));
  return (ms: number, busyMs: number): void => {
    nowMs += ms;
    activeMs += busyMs;
  };
}

function appetite({ calls = 16, isEager = false, places = 128 } = {}): AdaptiveBatchLimit {
  return new AdaptiveBatchLimit({ maxCalls: calls, maxBytes: 65_536, isEager }, places);
}

function answer(hungry: AdaptiveBatchLimit, calls: number): void {
  hungry.answered += calls;
}

it("takes one call at a time until it knows what calls cost", () => {
  const pass = clocked();
  const hungry = appetite();
  expect(hungry.current).toBe(1);
  answer(hungry, 1_000);
  pass(49, 1);
  expect(hungry.current).toBe(1);
});

it("takes the whole time for busy where the runtime does not tell", () => {
  const { eventLoopUtilization } = performance;
  const pass = clocked();
  Object.defineProperty(performance, "eventLoopUtilization", { value: undefined, configurable: true });
  try {
    const hungry = appetite();
    answer(hungry, 1_000);
    pass(50, 1); // 0.05 ms each
    expect(hungry.current).toBe(16);
    answer(hungry, 10);
    pass(50, 1); // 5 ms each
    expect(hungry.current).toBe(1);
  } finally {
    Object.defineProperty(performance, "eventLoopUtilization", {
      value: eventLoopUtilization,
      configurable: true,
    });
  }
});

it.each([
  [1_000, 50, 16], // 0.05 ms each
  [100, 10, 10], // 0.1 ms
  [100, 50, 2], // 0.5 ms
  [100, 51, 1],
  [100, 99, 1],
  [10, 50, 1], // 5 ms
  [100, 0, 16], // nothing that shows
])("after %i calls that kept it busy for %i ms takes %i in a message", (calls, busyMs, takes) => {
  const pass = clocked();
  const hungry = appetite();
  answer(hungry, calls);
  pass(50, busyMs);
  expect(hungry.current).toBe(takes);
});

it("follows what calls cost, one sample after the other", () => {
  const pass = clocked();
  const hungry = appetite();
  const seen: number[] = [];
  for (const [calls, busyMs] of [
    [100, 5],
    [10, 50],
    [100, 25],
    [100, 5],
  ] as const) {
    answer(hungry, calls);
    pass(50, busyMs);
    seen.push(hungry.current);
  }
  expect(seen).toEqual([16, 1, 4, 16]);
});

it("looks no more often than every 50 ms, and stands by what it saw while nothing is answered", () => {
  const pass = clocked();
  const hungry = appetite();
  answer(hungry, 100);
  pass(50, 5);
  expect(hungry.current).toBe(16);
  answer(hungry, 1);
  pass(49, 40);
  expect(hungry.current).toBe(16);
  pass(1, 0);
  expect(hungry.current).toBe(1);
  pass(60_000, 60_000);
  expect(hungry.current).toBe(1);
});

it("takes no more than it is told, nor than an eighth of its places, and always one", () => {
  for (const [options, takes] of [
    [{ calls: 4 }, 4],
    [{ calls: 1 }, 1],
    [{ places: 64 }, 8],
    [{ places: 63 }, 7],
    [{ places: 15 }, 1],
    [{ places: 1 }, 1],
    [{ calls: 256, places: 2_000 }, 250],
  ] as const) {
    const pass = clocked();
    const hungry = appetite(options);
    answer(hungry, 100_000);
    pass(50, 1);
    expect(hungry.current).toBe(takes);
  }
});

it("takes all that it may at once if it is eager", () => {
  expect(appetite({ isEager: true }).current).toBe(16);
  expect(appetite({ isEager: true, places: 16 }).current).toBe(2);
});
