/** The pause before the next attempt to connect. */

const FIRST_MS = 100;
const LAST_MS = 5_000;
/**
 * The shortest pause after the broker reported that a limit is reached: such a limit does not end within tenths of a second.
 */
const AFTER_LIMIT_MS = 1_000;
/** The time, in milliseconds, that a connection must last to show that the broker works. */
export const STEADY_MS = 5_000;

/** Pauses that double, from 100 ms up to 5 s, until {@link reset} is called. */
export class ReconnectPause {
  #ms = FIRST_MS;

  /**
   * Returns the next pause in milliseconds. It is randomized by up to a half, so that instances do not all connect at the same
   * moment.
   */
  next(): number {
    const ms = this.#ms;
    this.#ms = Math.min(ms * 2, LAST_MS);
    return ms * (0.5 + Math.random() / 2);
  }

  /** Lengthens the next pause, because the broker reported that a limit is reached. */
  limited(): void {
    this.#ms = Math.max(this.#ms, AFTER_LIMIT_MS);
  }

  /** Starts again with the shortest pause. */
  reset(): void {
    this.#ms = FIRST_MS;
  }
}
