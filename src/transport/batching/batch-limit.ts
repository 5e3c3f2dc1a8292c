/** How many calls at a time an instance wants. */

import type { Batching } from "../transport.ts";

const SAMPLE_MS = 50;
/** How long the calls of one message may keep the event loop busy: what stands behind them waits, though others are idle. */
const BUSY_MS = 1;
/** Of its places for calls, the share that one message may take. */
const SHARE_OF_PLACES = 1 / 8;

/**
 * The instances of a service share its work evenly because each gets one call after the other. So one that takes several at a
 * time may do so only where they cost next to nothing. What they cost is seen by the event loop: the time in which it is busy,
 * divided by the calls answered meanwhile. Waiting for something else does not count.
 */
export class AdaptiveBatchLimit {
  readonly #most: number;
  readonly #isEager: boolean;
  #takes = 1;
  /** Calls answered since the last sample. Whoever answers counts them here. */
  answered = 0;
  #sampledAt = performance.now();
  #activeBefore = activeMs();

  constructor({ maxCalls, isEager }: Batching, places: number) {
    this.#most = Math.max(1, Math.min(maxCalls, Math.floor(places * SHARE_OF_PLACES)));
    this.#isEager = isEager;
  }

  /** How many calls in one message are welcome. */
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

// Bun and Deno do not tell, nor do fake timers. There the event loop counts as busy all the time: what is answered fast is
// cheap in any case.
function activeMs(): number {
  const { eventLoopUtilization }: Partial<typeof performance> = performance;
  const told: { readonly active: number } | undefined = eventLoopUtilization?.call(performance);
  return told?.active ?? performance.now();
}
