import { describe, expect, it } from "vitest";
import { mergeDurations, quantile } from "./durations.ts";

describe("durations", () => {
  it("of several instances add up", () => {
    expect(
      mergeDurations([
        [
          [1, 2],
          [4, 1],
        ],
        [],
        [
          [0.5, 1],
          [4, 3],
        ],
      ]),
    ).toEqual([
      [0.5, 1],
      [1, 2],
      [4, 4],
    ]);
  });

  it("tell within what a share of runs stayed", () => {
    const durations = [
      [1, 50],
      [10, 45],
      [100, 5],
    ] as const;
    expect([0.5, 0.95, 0.99, 1].map((share) => quantile(durations, share))).toEqual([1, 10, 100, 100]);
    expect(quantile([], 0.5)).toBeUndefined();
  });
});
