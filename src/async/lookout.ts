/** Looking now and then whether something is still there. */

const EVERY_MS = 30_000;
const SOON_MS = 5_000;

/** One look at a time, and a pause between two. Does not hold the process. */
export class Lookout {
  readonly #look: () => Promise<unknown>;
  #isOn = false;
  #isLooking = false;
  #lastAt = Number.NEGATIVE_INFINITY;
  #dueAt = Number.POSITIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  /** @param look may reject: then nothing was learnt, and it is tried again at the next time. */
  constructor(look: () => Promise<unknown>) {
    this.#look = look;
  }

  /** Looks about every 30 s from now on. */
  begin(): void {
    if (this.#isOn) return;
    this.#isOn = true;
    this.#next();
  }

  /** Looks as soon as five seconds have passed since the last time, if it looks at all. */
  soon(): void {
    if (this.#isOn && !this.#isLooking) this.#at(this.#lastAt + SOON_MS);
  }

  end(): void {
    this.#isOn = false;
    clearTimeout(this.#timer);
    this.#dueAt = Number.POSITIVE_INFINITY;
  }

  // Not all instances of a fleet in the same second, though they came back together.
  #next(): void {
    this.#at(performance.now() + EVERY_MS * (0.8 + 0.4 * Math.random()));
  }

  #at(dueAt: number): void {
    if (dueAt >= this.#dueAt) return;
    this.#dueAt = dueAt;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#now(), Math.max(0, dueAt - performance.now()));
    this.#timer.unref();
  }

  async #now(): Promise<void> {
    this.#dueAt = Number.POSITIVE_INFINITY;
    if (this.#isLooking) return;
    this.#isLooking = true;
    this.#lastAt = performance.now();
    await this.#look().catch(() => undefined);
    this.#isLooking = false;
    if (this.#isOn) this.#next();
  }
}
