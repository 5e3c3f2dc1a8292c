/** Messages that this instance is putting aside, and what must not begin before that is over. */

const MOST_HELD_MS = 5_000;

/**
 * Between the copy of a suspect and the acknowledgement of the original there are two of it. An instance that died in that
 * moment would leave both behind: one killer would be tried, counted and dead-lettered as two. So nothing is begun
 * meanwhile, least of all that very copy, which the broker may well hand to the instance that made it.
 *
 * A copy that cannot be made must not stop everything else: after a while, the rest goes on.
 */
export class Isolations {
  /** True while deliveries that begin something are to be held. */
  isUnderWay = false;
  #underWay = 0;
  /** Is raised when those under way do not matter any more. */
  #connection = 0;
  #held: (() => void)[] = [];
  #timer: NodeJS.Timeout | undefined;
  #isTooLong = false;

  /** Counts a message that is being put aside, until the promise has settled. */
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

  /** Calls back when nothing is being put aside any more. */
  hold(deliver: () => void): void {
    this.#held.push(deliver);
  }

  /** Goes on with what is held, now. */
  release(): void {
    const held = this.#held;
    this.#held = [];
    for (const deliver of held) deliver();
  }

  /** The connection is gone: drops what is held, which the broker delivers again, and what is being put aside, too. */
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
