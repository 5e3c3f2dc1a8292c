import { describe, expect, it } from "vitest";
import { median, percentile, spread, student95, summarizeRatios } from "./statistics.ts";

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

describe("ratios", () => {
  it("have an interval as wide as Student's t makes it", () => {
    // As in the tables: degrees of freedom, two-sided, 95 %.
    const known: Record<number, number> = {
      ...{ 1: 12.706, 2: 4.303, 5: 2.571, 9: 2.262 },
      ...{ 10: 2.228, 12: 2.179, 19: 2.093, 30: 2.042, 99: 1.984 },
    };
    for (const [degrees, t] of Object.entries(known)) expect(student95(Number(degrees))).toBeCloseTo(t, 3);
    const { mean, low, high } = summarizeRatios([Math.exp(-0.1), 1, Math.exp(0.1)]);
    expect(mean).toBeCloseTo(1);
    // A standard deviation of 0.1, three values: 4.3027 * 0.1 / sqrt(3).
    expect(Math.log(high)).toBeCloseTo(0.24842, 4);
    expect(Math.log(low)).toBeCloseTo(-0.24842, 4);
  });

  it("say the same of both directions", () => {
    const ratios = [0.8, 0.9, 1.1, 0.95];
    const there = summarizeRatios(ratios);
    const back = summarizeRatios(ratios.map((ratio) => 1 / ratio));
    expect(back.mean).toBeCloseTo(1 / there.mean);
    expect([back.low, back.high]).toEqual([expect.closeTo(1 / there.high), expect.closeTo(1 / there.low)]);
  });

  it("are not swayed in their median by one that is far off, and show it", () => {
    expect(summarizeRatios([1, 1.01, 0.2, 0.99, 1.02])).toMatchObject({
      median: 1,
      least: 0.2,
      greatest: 1.02,
    });
  });

  it("have no interval if there is one only", () => {
    expect(summarizeRatios([1.5])).toMatchObject({ mean: 1.5, low: Number.NaN, high: Number.NaN });
  });
});
