/** Reads durations of runs: quantiles, and sums over several instances. */

import type { Durations } from "../protocol/discovery/traffic.ts";

/** Returns a quantile of the durations, in milliseconds; `undefined` without runs. `share` is from 0 to 1. */
export function quantile(durations: Durations, share: number): number | undefined {
  const total = durations.reduce((sum, [, count]) => sum + count, 0);
  let seen = 0;
  for (const [upTo, count] of durations) {
    seen += count;
    if (seen >= total * share) return upTo;
  }
  return undefined;
}

/** Merges the durations of several instances. */
export function mergeDurations(all: readonly Durations[]): Durations {
  const counts = new Map<number, number>();
  for (const [upTo, count] of all.flat()) counts.set(upTo, (counts.get(upTo) ?? 0) + count);
  return [...counts].sort(([a], [b]) => a - b);
}
