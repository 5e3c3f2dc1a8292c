/** How long a message waits before it is tried again, in levels that there are queues for. Pure: chance comes from outside. */

import { DELAY_LEVELS_MS } from "../protocol/topology.ts";
import type { Backoff } from "./policy.ts";

/** One stay in a delay queue, and what is left to wait afterwards. */
export interface Hop {
  readonly levelMs: number;
  readonly restMs: number;
}

const [SHORTEST] = DELAY_LEVELS_MS;
const LONGEST: number = Math.max(...DELAY_LEVELS_MS);

/** How long to wait after a number of failed tries, in milliseconds. `chance` is a number from 0 to 1. */
export function backoffMs(failedTries: number, { firstMs, maxMs, factor }: Backoff, chance: number): number {
  return chance * Math.min(maxMs, firstMs * factor ** (failedTries - 1));
}

/**
 * A random level around a wait, so that waits of any length come out right on average: of 3 s, half are 2 s and half are
 * 4 s. `chance` is a number from 0 to 1.
 */
export function hopNear(waitMs: number, chance: number): Hop {
  if (waitMs >= LONGEST) return firstHop(waitMs);
  const above = DELAY_LEVELS_MS.find((level) => level > waitMs) ?? LONGEST;
  const below = DELAY_LEVELS_MS.findLast((level) => level <= waitMs) ?? SHORTEST;
  if (above === below) return { levelMs: above, restMs: 0 };
  const share = (waitMs - below) / (above - below);
  return { levelMs: chance < share ? above : below, restMs: 0 };
}

/** The first of the hops that make up a wait, the longest first, to within the shortest level. */
export function firstHop(waitMs: number): Hop {
  const levelMs = DELAY_LEVELS_MS.findLast((level) => level <= waitMs) ?? SHORTEST;
  const restMs = Math.max(0, Math.round(waitMs - levelMs));
  return { levelMs, restMs: restMs < SHORTEST ? 0 : restMs };
}
