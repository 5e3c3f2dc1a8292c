/** How long to wait before the next attempt to connect. */

const FIRST_MS = 100;
const LAST_MS = 5_000;
/** A limit of the broker does not go away within tenths of a second. */
const AFTER_LIMIT_MS = 1_000;
/** A connection that broke sooner than that is no sign that the broker is well. */
export const STEADY_MS = 5_000;

/** Pauses that double, up to a bound, and begin again only when told to. */
export class ReconnectPause {
  #ms = FIRST_MS;

  /** The next one, in milliseconds; a random part of it, so that a fleet does not come all at once. */
  next(): number {
    const ms = this.#ms;
    this.#ms = Math.min(ms * 2, LAST_MS);
    return ms * (0.5 + Math.random() / 2);
  }

  /** The broker said that a limit is reached. */
  limited(): void {
    this.#ms = Math.max(this.#ms, AFTER_LIMIT_MS);
  }

  /** All is well: the next one is short again. */
  reset(): void {
    this.#ms = FIRST_MS;
  }
}
