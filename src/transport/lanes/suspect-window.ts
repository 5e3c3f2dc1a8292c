/** How many suspects of the durable lane an instance tries at a time. */

import { header, protocolHeader } from "../../protocol/codec.ts";
import type { Message } from "../../protocol/message.ts";
import type { Hold, WireDelivery } from "../wire.ts";

/** As many at a time, at most. Each that runs beside a killer is counted as if it might have been the killer. */
const MOST = 64;
const GROWTH = 4;

/** A suspect, as far as the window is concerned. */
export interface Suspect {
  /** Whether an instance that had it alone, or beside a few others, is gone. Such a one runs with nothing beside it. */
  readonly isMarked: boolean;
  /** Whether it is tried: not if it came marked out of the queue for what is tried alone, and is only counted and moved. */
  readonly isTried: boolean;
}

/**
 * Suspects are tried one at a time at first. Each round that the instance survives makes them four times as many, so that a
 * thousand messages that somebody only looked at, or that a cut connection left behind, are not handled one by one ever after.
 *
 * An instance that dies marks all that it had. A marked message must not be near any other: when one arrives beside others,
 * the window closes until these have ended, and opens again for one at a time.
 */
export class SuspectWindow {
  readonly #allow: (deliveries: number) => void;
  #size = 1;
  readonly #inHand = new Set<Suspect>();
  #marked = 0;
  /** How many of the present size have ended well. */
  #survived = 0;
  #isClosed = false;

  /** @param allow has the broker hand over so many at a time; 0 for none. */
  constructor(allow: (deliveries: number) => void) {
    this.#allow = allow;
  }

  /** Counts a suspect in. @returns whether it may run; if not, it goes back to its queue. */
  admit(suspect: Suspect): boolean {
    const isBesideMarked = this.#marked > 0;
    this.#inHand.add(suspect);
    if (suspect.isMarked) this.#marked += 1;
    const isFine = suspect.isMarked ? this.#size === 1 && this.#inHand.size === 1 : !isBesideMarked;
    // What was on its way when the window closed goes back, too.
    if (isFine && !this.#isClosed) return true;
    if (!this.#isClosed) this.#allow(0);
    this.#isClosed = true;
    return false;
  }

  /** Counts a suspect out: it was handled, moved, or went back. */
  leave(suspect: Suspect): void {
    if (!this.#inHand.delete(suspect)) return; // of a connection that is gone
    if (suspect.isMarked) this.#marked -= 1;
    if (this.#isClosed) {
      if (this.#inHand.size === 0) this.#reopen();
      return;
    }
    if (suspect.isMarked || !suspect.isTried) return;
    this.#survived += 1;
    if (this.#survived < this.#size || this.#size === MOST) return;
    this.#survived = 0;
    this.#size *= GROWTH;
    this.#allow(this.#size);
  }

  /** The connection is gone, and all that was in hand: the next one begins with one at a time. */
  forget(): void {
    this.#size = 1;
    this.#inHand.clear();
    this.#marked = 0;
    this.#survived = 0;
    this.#isClosed = false;
  }

  #reopen(): void {
    this.forget();
    this.#allow(1);
  }
}

/** Returns whether an instance that had a message alone, or beside a few others, is gone. */
export function isMarked({ properties: { headers } }: Message): boolean {
  return Number(protocolHeader(headers, header.deaths)) > 0;
}

/** A delivery that says when it has ended. */
export class CountedDelivery implements WireDelivery {
  readonly #wired: WireDelivery;
  readonly #onEnd: () => void;

  constructor(wired: WireDelivery, onEnd: () => void) {
    this.#wired = wired;
    this.#onEnd = onEnd;
  }

  get message(): WireDelivery["message"] {
    return this.#wired.message;
  }

  get exchange(): string {
    return this.#wired.exchange;
  }

  get key(): string {
    return this.#wired.key;
  }

  get redelivered(): boolean {
    return this.#wired.redelivered;
  }

  get hold(): Hold {
    return this.#wired.hold;
  }

  acksTaken(): Promise<void> {
    return this.#wired.acksTaken?.() ?? Promise.resolve();
  }

  ack(): void {
    this.#wired.ack();
    this.#onEnd();
  }

  requeue(): void {
    this.#wired.requeue();
    this.#onEnd();
  }
}
