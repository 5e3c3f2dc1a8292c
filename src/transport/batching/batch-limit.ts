/** The limit on how many calls an instance accepts in one message. */

import type { Batching } from "../transport.ts";

/** The shortest time over which the cost of calls is measured, in milliseconds. */
const SAMPLE_MS = 50;
/**
 * How long the calls of one message may keep the event loop busy, in milliseconds. The last of them wait while other instances
 * may be idle.
 */
const BUSY_MS = 1;
/** The share of an instance's places for calls that one message may take. */
const SHARE_OF_PLACES = 1 / 8;

/**
 * Adapts the limit to the cost of a call. The instances of a service share its work evenly because each gets one call after the
 * other, so an instance may accept several at once only if they cost almost nothing. The cost is the time in which the event
 * loop was busy, divided by the number of calls that were answered meanwhile. Time spent waiting does not count.
 */
export class AdaptiveBatchLimit {
  readonly #most: number;
  readonly #isEager: boolean;
  #takes = 1;
  /** The number of calls answered since the last measurement. The code that answers increments it. */
  answered = 0;
  #sampledAt = performance.now();
  #activeBefore = activeMs();

  constructor({ maxCalls, isEager }: Batching, places: number) {
    this.#most = Math.max(1, Math.min(maxCalls, Math.floor(places * SHARE_OF_PLACES)));
    this.#isEager = isEager;
  }

  /** How many calls the instance accepts in one message. */
  get current(): number {
    if (this.#isEager || this.#most === 1) return this.#most;
    const now = performance.now();
    if (this.answered > 0 && now - this.#sampledAt >= SAMPLE_MS) {
      const active = activeMs();
      const busyMs = (active - this.#activeBefore) / this.answered;
      this.#takes = Math.max(1, Math.min(this.#most, Math.floor(BUSY_MS / busyMs)));
      this.answered = 0;
      this.#sampledAt = now;
      this.#activeBefore = active;
    }
    return this.#takes;
  }
}

// Bun and Deno do not report the busy time, nor do fake timers. Then the event loop counts as busy all the time, which does no
// harm: calls that are answered fast are cheap.
function activeMs(): number {
  const { eventLoopUtilization }: Partial<typeof performance> = performance;
  const told: { readonly active: number } | undefined = eventLoopUtilization?.call(performance);
  return told?.active ?? performance.now();
}
