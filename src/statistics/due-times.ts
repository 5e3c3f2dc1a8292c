/** How many waits are not over: counted by when they end, in a bounded number of slots. */

const FINEST_MS = 250;
/** A slot is as wide as this part of its wait, so that there are a few hundred of them, whatever is waited for. */
const PART = 16;
/** More than there can be of waits that are not over. */
const LOOK_AT = 1_024;

/** Counts waits until they are over. */
export class DueTimes {
  /** How many end by a moment of the monotonic clock. */
  readonly #ends = new Map<number, number>();

  /** A wait of so many milliseconds begins. */
  add(ms: number): void {
    const now = performance.now();
    if (this.#ends.size >= LOOK_AT) this.#forget(now);
    const width = Math.max(FINEST_MS, 2 ** Math.floor(Math.log2(Math.max(1, ms / PART))));
    const end = Math.ceil((now + ms) / width) * width;
    this.#ends.set(end, (this.#ends.get(end) ?? 0) + 1);
  }

  /** How many are not over. */
  get count(): number {
    if (this.#ends.size === 0) return 0;
    this.#forget(performance.now());
    let count = 0;
    for (const each of this.#ends.values()) count += each;
    return count;
  }

  #forget(now: number): void {
    for (const end of this.#ends.keys()) if (end <= now) this.#ends.delete(end);
  }
}
