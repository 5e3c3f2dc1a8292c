import { describe, expect, it } from "vitest";
import { median, percentile, spread } from "./statistics.ts";

describe("statistics", () => {
  it("takes the middle value, or the mean of the two in the middle, whatever their order", () => {
    expect(median([9, 1, 5])).toBe(5);
    expect(median([9, 1, 5, 6])).toBe(5.5);
    expect(median([])).toBeNaN();
  });

  it("takes the value that so large a share lies below", () => {
    const sorted = Float64Array.from({ length: 100 }, (_, i) => i);
    expect(percentile(sorted, 0.5)).toBe(50);
    expect(percentile(sorted, 0.99)).toBe(99);
    expect(percentile(sorted, 1)).toBe(99);
    expect(percentile([], 0.5)).toBeNaN();
  });

  it("relates the greatest difference to the median", () => {
    expect(spread([90, 100, 120])).toBeCloseTo(0.3);
    expect(spread([100])).toBe(0);
  });
});
