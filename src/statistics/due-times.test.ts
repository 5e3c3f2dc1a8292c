import { beforeEach, expect, it, vi } from "vitest";
import { DueTimes } from "./due-times.ts";

let now = 0;

beforeEach(() => {
  now = 12_345;
  vi.spyOn(performance, "now").mockImplementation(() => now);
});

it.each([1, 250, 4_000, 60_000, 1_024_000, 2_147_483_647])(
  "counts a wait of %s ms until it is over",
  (ms) => {
    const due = new DueTimes();
    due.add(ms);
    now += ms - 1;
    expect(due.count).toBe(1);
    now += Math.max(251, ms / 8);
    expect(due.count).toBe(0);
  },
);

it("counts many", () => {
  const due = new DueTimes();
  for (let n = 0; n < 20_000; n += 1) {
    due.add(n % 2 === 0 ? 1_000 : 1_000_000);
    now += 5;
  }
  expect(due.count).toBeGreaterThanOrEqual(10_000 + 100);
  expect(due.count).toBeLessThan(10_000 + 130);
});
