/** How runs ended of late: the last seconds, which move along with the clock. */

import type { RecentRuns } from "../protocol/discovery/traffic.ts";
import { Histogram, mergeDurations } from "./histogram.ts";

/** How a run ended. */
export type End = "handled" | "refused" | "failed";

/** What is looked at is the part of the present slot that has passed, and the whole one before it. */
const SLOT_MS = 5_000;
/** Younger ones count as that old: one run in the first millisecond is no thousand a second. */
const LEAST_MS = 1_000;

class Slot {
  readonly ends: Record<End, number> = { handled: 0, refused: 0, failed: 0 };
  readonly durations = new Histogram();

  clear(): void {
    this.ends.handled = 0;
    this.ends.refused = 0;
    this.ends.failed = 0;
    this.durations.clear();
  }
}

/** Counts what ended in the last 5 to 10 seconds, at the cost of a few additions and two slots. */
export class LastSeconds {
  readonly #madeAt: number = performance.now();
  #number = 0;
  #present = new Slot();
  #before = new Slot();

  /** A run ended now, on the monotonic clock; `range` is that of its duration. */
  add(end: End, range: number, now: number): void {
    const number = Math.floor(now / SLOT_MS);
    if (number !== this.#number) this.#turn(number);
    this.#present.ends[end] += 1;
    this.#present.durations.add(range);
  }

  read(): RecentRuns {
    const now = performance.now();
    const number = Math.floor(now / SLOT_MS);
    if (number !== this.#number) this.#turn(number);
    const [one, other] = [this.#present, this.#before];
    const ms = Math.min(now - this.#madeAt, SLOT_MS + (now - number * SLOT_MS));
    return {
      ms: Math.max(LEAST_MS, Math.round(ms)),
      handled: one.ends.handled + other.ends.handled,
      refused: one.ends.refused + other.ends.refused,
      failed: one.ends.failed + other.ends.failed,
      durations: mergeDurations([other.durations.read(), one.durations.read()]),
    };
  }

  #turn(number: number): void {
    const isNext = number === this.#number + 1;
    [this.#before, this.#present] = [this.#present, this.#before];
    this.#present.clear();
    if (!isNext) this.#before.clear();
    this.#number = number;
  }
}
