import { beforeEach, describe, expect, it, vi } from "vitest";
import { rangeOf } from "./histogram.ts";
import { LastSeconds } from "./last-seconds.ts";

let now = 0;

beforeEach(() => {
  now = 1_000_000;
  vi.spyOn(performance, "now").mockImplementation(() => now);
});

function add(recent: LastSeconds, ms: number): void {
  recent.add("handled", rangeOf(ms), now);
}

describe("the last seconds", () => {
  it("forget what ended before them, and say how long they are", () => {
    const recent = new LastSeconds();
    for (let second = 0; second < 60; second += 1) {
      for (let n = 0; n < 10; n += 1) add(recent, second < 40 ? 1_000 : 1);
      now += 1_000;
    }
    const { ms, handled, durations } = recent.read();
    expect(ms).toBeGreaterThanOrEqual(5_000);
    expect(ms).toBeLessThanOrEqual(10_000);
    expect((handled / ms) * 1_000).toBeCloseTo(10, 5);
    expect(durations).toEqual([[expect.closeTo(1, 0), handled]]);
  });

  it("are empty after a pause, also one of many slots, without anything that ends meanwhile", () => {
    for (const pause of [10_000, 15_000, 3_600_000]) {
      const recent = new LastSeconds();
      now += 60_000;
      add(recent, 1);
      expect(recent.read()).toMatchObject({ handled: 1, refused: 0, failed: 0 });
      now += pause;
      expect(recent.read()).toMatchObject({ handled: 0, durations: [] });
      add(recent, 1);
      expect(recent.read()).toMatchObject({ handled: 1 });
    }
  });

  it("are fewer while all of it is younger, and no less than one", () => {
    const recent = new LastSeconds();
    add(recent, 1);
    expect(recent.read().ms).toBe(1_000);
    now += 3_000;
    expect(recent.read().ms).toBe(3_000);
  });
});
