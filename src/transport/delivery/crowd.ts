/** How many suspects of the durable lane an instance has tried alone, before the rest are too many for that. */

/** So many are tried alone: with a handler that takes seconds, that is still well under a minute. */
const MOST_ALONE = 8;
const WITHIN_MS = 10_000;

/**
 * Tells a few suspects from a crowd. One at a time takes as long as all their handlers together, and hundreds come at once
 * where a busy instance has died, or somebody has looked into the inbox.
 */
export class Crowd {
  #count = 0;
  #since = Number.NEGATIVE_INFINITY;

  /** Counts a suspect. @returns whether it is one of a few, and is to be tried alone. */
  isFew(now: number = performance.now()): boolean {
    if (now - this.#since >= WITHIN_MS) {
      this.#since = now;
      this.#count = 0;
    }
    this.#count += 1;
    return this.#count <= MOST_ALONE;
  }
}
