/** Repeatedly checks whether something still exists. */

const EVERY_MS = 30_000;
const SOON_MS = 5_000;

/** Runs one check at a time, with a pause between two. Its timer does not keep the process alive. */
export class Lookout {
  readonly #look: () => Promise<unknown>;
  #isOn = false;
  #isLooking = false;
  #lastAt = Number.NEGATIVE_INFINITY;
  #dueAt = Number.POSITIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  /** @param look may reject; then the check is repeated at the next regular time. */
  constructor(look: () => Promise<unknown>) {
    this.#look = look;
  }

  /** Starts checks about every 30 s. */
  begin(): void {
    if (this.#isOn) return;
    this.#isOn = true;
    this.#next();
  }

  /** Schedules a check for five seconds after the last one began, if checks were started. */
  soon(): void {
    if (this.#isOn && !this.#isLooking) this.#at(this.#lastAt + SOON_MS);
  }

  end(): void {
    this.#isOn = false;
    clearTimeout(this.#timer);
    this.#dueAt = Number.POSITIVE_INFINITY;
  }

  // Random, so that the instances of a fleet that reconnected together do not check in the same second.
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
