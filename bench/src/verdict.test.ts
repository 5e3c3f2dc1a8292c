import { describe, expect, it } from "vitest";
import { describeInterval } from "./verdict.ts";

describe("the verdict", () => {
  it.each([
    [0.9, 0.96, "slower: the interval lies below 0.97, which stops a change"],
    [0.9, 0.98, "a little slower: the interval lies below 1.0, but not all of it below 0.97"],
    [0.96, 1.02, "undecided: the interval includes 1.0 and reaches below 0.97; try more pairs"],
    [0.98, 1.3, "no difference seen: the interval includes 1.0"],
    [1, 1, "no difference seen: the interval includes 1.0"],
    [1.01, 1.3, "faster: the interval lies above 1.0"],
  ])("of a rate whose ratio lies from %d to %d is that it is %s", (low, high, verdict) => {
    expect(describeInterval({ low, high }, "rate")).toBe(verdict);
  });

  it.each([
    [1.04, 1.2, "more: the interval lies above 1.03, which stops a change"],
    [1.02, 1.2, "a little more: the interval lies above 1.0, but not all of it above 1.03"],
    [0.9, 1.04, "undecided: the interval includes 1.0 and reaches above 1.03; try more pairs"],
    [0.9, 1.02, "no difference seen: the interval includes 1.0"],
    [0.9, 0.99, "less: the interval lies below 1.0"],
  ])("of a cost whose ratio lies from %d to %d is that it is %s", (low, high, verdict) => {
    expect(describeInterval({ low, high }, "cost")).toBe(verdict);
  });

  it("is none where there was a single pair", () => {
    expect(describeInterval({ low: Number.NaN, high: Number.NaN }, "rate")).toContain("no interval");
  });
});
