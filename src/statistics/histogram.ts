/** Durations, counted in ranges: the cost of one is an index into an array. */

import type { Durations } from "../protocol/discovery/traffic.ts";

// An octave of microseconds has so many ranges.
const STEPS_BITS = 3;
const STEPS = 1 << STEPS_BITS;
const RANGES = (31 - STEPS_BITS + 2) * STEPS;
const MOST_US = 2 ** 31 - 1;

/** Counts durations by their ranges. */
export class Histogram {
  /** Made with the first duration: a service may have a thousand routes that nobody calls. */
  #ranges: Uint32Array | undefined;

  /** @param range that of {@link rangeOf}. */
  add(range: number): void {
    this.#ranges ??= new Uint32Array(RANGES);
    this.#ranges[range] = (this.#ranges[range] as number) + 1;
  }

  clear(): void {
    this.#ranges?.fill(0);
  }

  read(): Durations {
    const durations: [number, number][] = [];
    this.#ranges?.forEach((count, range) => {
      if (count > 0) durations.push([upToMs(range), count]);
    });
    return durations;
  }
}

/**
 * The range of a duration in milliseconds. The first two octaves have one for each microsecond, every other as many steps: the
 * leading bit and those behind it.
 */
export function rangeOf(ms: number): number {
  const us = Math.min(Math.max(0, Math.round(ms * 1_000)), MOST_US);
  if (us < 2 * STEPS) return us;
  const shift = 31 - Math.clz32(us) - STEPS_BITS;
  return (shift << STEPS_BITS) + (us >> shift);
}

function upToMs(range: number): number {
  if (range < 2 * STEPS) return range / 1_000;
  const shift = (range >> STEPS_BITS) - 1;
  const step = (range & (STEPS - 1)) + STEPS;
  return ((step + 1) * 2 ** shift - 1) / 1_000;
}

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
