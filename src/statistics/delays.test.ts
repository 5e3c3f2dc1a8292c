import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { DelayRecorder } from "./delays.ts";

beforeEach(() => void vi.useFakeTimers({ now: Date.UTC(2026, 11, 1) }));
afterEach(() => void vi.useRealTimers());

it("counts what is not due by service, with the time of the last", () => {
  const delays = new DelayRecorder();
  delays.add("a", performance.now() + 10_000);
  delays.add("a", performance.now() + 5_000);
  delays.add("b", performance.now() + 1_000);
  expect(delays.read()).toEqual([
    { service: "a", count: 2, until: "2026-12-01T00:00:10.000Z" },
    { service: "b", count: 1, until: "2026-12-01T00:00:01.000Z" },
  ]);
  vi.advanceTimersByTime(6_000);
  expect(delays.read()).toEqual([{ service: "a", count: 1, until: "2026-12-01T00:00:10.000Z" }]);
  vi.advanceTimersByTime(6_000);
  expect(delays.read()).toEqual([]);
});

it("counts services beyond its limit together", () => {
  const delays = new DelayRecorder();
  for (let n = 0; n < 502; n += 1) delays.add(`s${n}`, performance.now() + 60_000);
  const told = delays.read();
  expect(told).toHaveLength(501);
  expect(told.at(-1)).toEqual({ count: 2, until: "2026-12-01T00:01:00.000Z" });
});
