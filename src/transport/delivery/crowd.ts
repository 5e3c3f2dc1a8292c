/** Counts the suspects of the inbox that an instance has tried alone, and says when the rest are too many for that. */

/** The number of suspects that are tried alone. Even if a handler takes seconds, they take well under a minute. */
const MOST_ALONE = 8;
const WITHIN_MS = 10_000;

/**
 * Distinguishes a few suspects from a crowd. Suspects that are tried alone take as long as all their handlers together.
 * Hundreds of them come at once when a busy instance has died, or when somebody has looked into the inbox.
 */
export class Crowd {
  #count = 0;
  #since = Number.NEGATIVE_INFINITY;

  /** Counts a suspect. Returns whether it is one of a few, so that it is tried alone. */
  isFew(now: number = performance.now()): boolean {
    if (now - this.#since >= WITHIN_MS) {
      this.#since = now;
      this.#count = 0;
    }
    this.#count += 1;
    return this.#count <= MOST_ALONE;
  }
}
