/** The limit on handlers of calls: how many work at a time, how many more wait for answers, and which calls are refused. */

import { runOutsideContext } from "../async/outside-context.ts";
import type { Delivery } from "../transport/transport.ts";

/** The parts that a {@link ConcurrencyLimit} works with. */
export interface ConcurrencyLimitDependencies {
  /** The number of handlers that may work at a time. */
  readonly most: number;
  /** The number of handlers that may wait for answers to calls of their own. When it is reached, no other handler begins. */
  readonly mostWaiting: number;
  /** Begins a call that waited here and now has its place. `heldMs` is how long it waited, in milliseconds. */
  begin(delivery: Delivery, heldMs: number): void;
  /** Refuses a call that waited here for a place, because too many handlers wait for answers. */
  refuse(delivery: Delivery): void;
  /** Sets how many messages with calls the broker delivers before one of them is settled. */
  allow(messages: number): void;
}

/** The decision on a call that arrives: it begins now, waits for a place (`later`), or is refused (`never`). */
export type Admission = "now" | "later" | "never";

interface QueuedCall {
  readonly delivery: Delivery;
  /** When it began to wait, on the monotonic clock, in milliseconds. */
  readonly since: number;
}

/** The limit on the bodies of the calls in hand, together, in bytes. It applies while a handler waits for an answer. */
const MOST_BYTES = 256 * 1024 * 1024;
/**
 * How often the allowance of messages can grow. Each time costs one more consumer on the same channel, and brokers limit
 * those: Amazon MQ to 10.
 */
const MOST_STEPS = 7;

/**
 * Limits the handlers of calls that work at a time.
 *
 * A handler has a place while it works. While it waits for the answer to a call of its own it has none, because that answer may
 * need the place: services that call each other in a circle would wait for each other until their deadlines.
 *
 * The broker counts messages until they are settled. When the messages of waiting handlers use up the allowance, this class
 * doubles it, or more where few places would need many steps. It shrinks the allowance again later: messages that the broker
 * delivers here without need are work that other instances could do.
 */
export class ConcurrencyLimit {
  readonly #parts: ConcurrencyLimitDependencies;
  /** The factor by which the allowance grows and shrinks. */
  readonly #step: number;
  /** The number of handlers that have begun and not ended. */
  #running = 0;
  /** The number of running handlers that wait for an answer. */
  #waiting = 0;
  /** The total size of the bodies of the running calls, in bytes. */
  #bytes = 0;
  #held: QueuedCall[] = [];
  #allowed: number;
  #isBeginning = false;
  #isScheduled = false;

  constructor(parts: ConcurrencyLimitDependencies) {
    this.#parts = parts;
    const { most, mostWaiting } = parts;
    this.#step = Math.max(2, Math.ceil(((most + mostWaiting) / most) ** (1 / MOST_STEPS)));
    this.#allowed = parts.most;
  }

  /**
   * Decides on a call that has arrived. A call that begins now has its place. A call that waits is stored here until it is
   * begun, refused or taken out.
   */
  admit(delivery: Delivery): Admission {
    if (this.#held.length > 0 || !this.#hasPlace) {
      this.#held.push({ delivery, since: performance.now() });
      return "later";
    }
    if (!this.#hasRoom(delivery)) return "never";
    this.enter(delivery);
    return "now";
  }

  /** Gives a call a place even if none is free, because the call was redelivered or because no handler runs for it. */
  enter({ size }: Delivery): void {
    this.#running += 1;
    this.#bytes += size;
  }

  /** Frees the place of a call whose handler has ended. */
  leave({ size }: Delivery): void {
    this.#running -= 1;
    this.#bytes -= size;
    this.#beginHeld();
    this.#adapt();
  }

  /** Notes that a handler begins to wait for an answer, or continues. */
  readonly waits = (isWaiting: boolean): void => {
    this.#waiting += isWaiting ? 1 : -1;
    if (!isWaiting) return;
    if (this.#held.length === 0) {
      this.#adapt();
      return;
    }
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    // In a microtask and outside of the context, so that no handler begins inside the call that another handler makes.
    runOutsideContext(queueMicrotask, () => {
      this.#isScheduled = false;
      this.#beginHeld();
      this.#adapt();
    });
  };

  /** The reason why a call is refused, for the error message. */
  get full(): string {
    const { mostWaiting } = this.#parts;
    return this.#waiting < mostWaiting
      ? `the bodies of the ${this.#running} calls in hand take ${this.#bytes} bytes, and the limit is ${MOST_BYTES}`
      : `${this.#waiting} of its handlers wait for answers to calls of their own, and concurrency.waiting is ${mostWaiting}`;
  }

  /** Removes and returns the calls that wait for a place: all of them, or those that did not come from this process. */
  takeHeld(which: "all" | "from outside"): readonly Delivery[] {
    const held = this.#held;
    this.#held = which === "all" ? [] : held.filter(({ delivery }) => delivery.isNear);
    return held.filter((each) => !this.#held.includes(each)).map(({ delivery }) => delivery);
  }

  /** Resets the allowance for the next connection. */
  reset(): void {
    this.#allowed = this.#parts.most;
  }

  get #hasPlace(): boolean {
    return this.#running - this.#waiting < this.#parts.most;
  }

  #hasRoom({ size }: Delivery): boolean {
    if (this.#waiting === 0) return true;
    return this.#waiting < this.#parts.mostWaiting && this.#bytes + size <= MOST_BYTES;
  }

  // A loop, not recursion: a handler may end in the turn in which it begins.
  #beginHeld(): void {
    if (this.#isBeginning) return;
    this.#isBeginning = true;
    while (this.#held.length > 0 && this.#hasPlace) {
      const { delivery, since } = this.#held.shift() as QueuedCall;
      if (this.#hasRoom(delivery)) {
        this.enter(delivery);
        this.#parts.begin(delivery, performance.now() - since);
      } else this.#parts.refuse(delivery);
    }
    this.#isBeginning = false;
  }

  // Raises the allowance if places are free but the broker may deliver no more. Comparing it with the number of running calls
  // is safe, because there are never more messages than calls.
  #adapt(): void {
    const { most, mostWaiting, allow } = this.#parts;
    const isStarving = this.#hasPlace && this.#running >= this.#allowed;
    if (isStarving && this.#allowed < most + mostWaiting) this.#allowed *= this.#step;
    // Half of what is left then has to be free, or the next call would raise it again.
    else if (this.#allowed > most && this.#running < this.#allowed / this.#step / 2)
      this.#allowed /= this.#step;
    else return;
    // More cannot be used, and would be refused here instead of going to another instance.
    allow(Math.min(this.#allowed, most + mostWaiting));
  }
}
