/** What an interval of ratios says, in words. */

import type { Ratio } from "./statistics.ts";

/** A rate, of which less stops a change, or a cost, of which more does. */
export type Kind = "rate" | "cost";

/** Beyond these, with the whole interval, a change of a hot path is not taken. */
export const LIMITS = { rate: 0.97, cost: 1.03 } as const;

export function describeInterval({ low, high }: Pick<Ratio, "low" | "high">, kind: Kind): string {
  if (Number.isNaN(low)) return "no interval: that takes two pairs at least";
  switch (kind) {
    case "rate":
      if (high < LIMITS.rate) return "slower: the interval lies below 0.97, which stops a change";
      if (high < 1) return "a little slower: the interval lies below 1.0, but not all of it below 0.97";
      if (low > 1) return "faster: the interval lies above 1.0";
      if (low < LIMITS.rate)
        return "undecided: the interval includes 1.0 and reaches below 0.97; try more pairs";
      return "no difference seen: the interval includes 1.0";
    case "cost":
      if (low > LIMITS.cost) return "more: the interval lies above 1.03, which stops a change";
      if (low > 1) return "a little more: the interval lies above 1.0, but not all of it above 1.03";
      if (high < 1) return "less: the interval lies below 1.0";
      if (high > LIMITS.cost)
        return "undecided: the interval includes 1.0 and reaches above 1.03; try more pairs";
      return "no difference seen: the interval includes 1.0";
    default:
      return kind satisfies never;
  }
}
