/** Answers to RabbitMQ's direct reply-to, which cost the connection where the address is forged. */

import { isDirectReplyTo } from "../../protocol/address.ts";

/** RabbitMQ ends a connection at once. */
const PROMPT_MS = 1_000;
/** A connection that stood for so long says that the loss before it had another cause. */
const STEADY_MS = 5_000;
/** The first may have had another cause. The acknowledgement of the call was lost with each, so the broker delivers it again. */
const MOST_LOSSES = 2;
/** Each caller has an address of its own. Those that were written to last are the ones in question. */
const MOST_ADDRESSES = 1_000;

/**
 * Finds addresses that are not to be answered any more. RabbitMQ does not say which message it ended a connection for, and a
 * call whose acknowledgement was lost with it comes again: without a bound, one forged address would cost connections for ever.
 */
export class DirectReturns {
  readonly #writtenAt = new Map<string, number>();
  #losses = new Map<string, number>();
  #beganAt = Number.NEGATIVE_INFINITY;

  /** Notes that a connection is there. */
  began(now: number = performance.now()): void {
    this.#beganAt = now;
  }

  /** Notes that an answer is about to be written. @returns whether it may be. */
  mayAnswer(to: string, now: number = performance.now()): boolean {
    if (!isDirectReplyTo(to)) return true;
    if ((this.#losses.get(to) ?? 0) >= MOST_LOSSES) return false;
    this.#writtenAt.delete(to);
    this.#writtenAt.set(to, now);
    if (this.#writtenAt.size > MOST_ADDRESSES)
      for (const [oldest] of this.#writtenAt) {
        this.#writtenAt.delete(oldest);
        break;
      }
    return true;
  }

  /** Notes that the connection is gone. */
  lost(now: number = performance.now()): void {
    if (now - this.#beganAt >= STEADY_MS) this.#losses.clear();
    // Those that are in doubt already are not written to, and stay so.
    const losses = new Map([...this.#losses].filter(([, count]) => count >= MOST_LOSSES));
    for (const [to, writtenAt] of this.#writtenAt)
      if (now - writtenAt < PROMPT_MS) losses.set(to, (this.#losses.get(to) ?? 0) + 1);
    this.#losses = losses;
    this.#writtenAt.clear();
  }
}
