/** Durations of runs as they are read: how long a share of them took, and those of several instances together. */

import type { Durations } from "../protocol/discovery/traffic.ts";

/** The duration that a share of runs stayed within, in milliseconds; `undefined` without runs. */
export function quantile(durations: Durations, share: number): number | undefined {
  const total = durations.reduce((sum, [, count]) => sum + count, 0);
  let seen = 0;
  for (const [upTo, count] of durations) {
    seen += count;
    if (seen >= total * share) return upTo;
  }
  return undefined;
}

/** Durations of several instances as those of one. */
export function mergeDurations(all: readonly Durations[]): Durations {
  const counts = new Map<number, number>();
  for (const [upTo, count] of all.flat()) counts.set(upTo, (counts.get(upTo) ?? 0) + count);
  return [...counts].sort(([a], [b]) => a - b);
}
