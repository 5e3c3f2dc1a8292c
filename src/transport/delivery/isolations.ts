/** The messages that this instance is putting aside, and the deliveries that wait until that is over. */

const MOST_HELD_MS = 5_000;

/**
 * While a suspect is being put aside, both its copy and its original exist. If this instance died then, both would remain, and
 * one message that kills would be tried, counted and dead-lettered as two. So meanwhile no delivery begins, above all not that
 * copy, which the broker may deliver to this very instance.
 *
 * If a copy cannot be published, the other deliveries must not wait for it without end. They go on after 5 s.
 */
export class Isolations {
  /** True while deliveries must be held back. */
  isUnderWay = false;
  #underWay = 0;
  /** Incremented when the connection is lost, so that earlier isolations are not counted any more. */
  #connection = 0;
  #held: (() => void)[] = [];
  #timer: NodeJS.Timeout | undefined;
  #isTooLong = false;

  /** Counts a message as being put aside until the promise settles. */
  add<Result>(isolation: Promise<Result>): Promise<Result> {
    this.#underWay += 1;
    this.isUnderWay = !this.#isTooLong;
    const connection = this.#connection;
    this.#timer ??= setTimeout(() => {
      this.#isTooLong = true;
      this.isUnderWay = false;
      this.release();
    }, MOST_HELD_MS).unref();
    return isolation.finally(() => {
      if (connection === this.#connection) this.#end();
    });
  }

  /** Holds a delivery back: calls back when no message is being put aside any more. */
  hold(deliver: () => void): void {
    this.#held.push(deliver);
  }

  /** Calls back for all deliveries that are held back, now. */
  release(): void {
    const held = this.#held;
    this.#held = [];
    for (const deliver of held) deliver();
  }

  /**
   * Drops everything, because the connection is gone: the broker redelivers what was held back and what was being put aside.
   */
  forget(): void {
    this.#connection += 1;
    this.#underWay = 0;
    this.#held = [];
    this.#stopTimer();
  }

  #end(): void {
    this.#underWay -= 1;
    if (this.#underWay > 0) return;
    this.#stopTimer();
    this.release();
  }

  #stopTimer(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#isTooLong = false;
    this.isUnderWay = false;
  }
}
