/** Places for the handlers of calls: how many work at a time, how many more wait for answers, and who is turned away. */

import { runOutsideContext } from "../async/outside-context.ts";
import type { Delivery } from "../transport/transport.ts";

/** The parts that a concurrency limit works with. */
export interface ConcurrencyLimitDependencies {
  /** Handlers that work at a time. */
  readonly most: number;
  /** Handlers that wait for answers to calls of their own, when there are so many, leave no room for others to begin. */
  readonly mostWaiting: number;
  /** Begins a call that waited here for a place, and has it. */
  begin(delivery: Delivery, heldMs: number): void;
  /** Turns away a call that waited here for a place: as many handlers wait for answers as may. */
  refuse(delivery: Delivery): void;
  /** Has the broker hand over so many messages of calls before it sees one of them settled. */
  allow(messages: number): void;
}

/** The fate of a call that arrives: it begins now, waits here for a place, or is turned away. */
export type Admission = "now" | "later" | "never";

interface QueuedCall {
  readonly delivery: Delivery;
  /** On the monotonic clock. */
  readonly since: number;
}

/** Bodies that are in hand together, at most, once handlers wait for answers. */
const MOST_BYTES = 256 * 1024 * 1024;
/** Below this share of what the broker was allowed, it is allowed half of that. */
const SHRINK_BELOW = 1 / 4;

/**
 * A handler has a place while it works. While it waits for the answer to a call of its own it has none, since the answer may
 * need that very place: services that call each other in a circle would wait for each other until their deadlines.
 *
 * The broker counts messages until they are settled, so it is allowed more of them when those of waiting handlers take up
 * what it was allowed, twice as many each time, and fewer again later: what it hands over without need is work that other
 * instances could do.
 */
export class ConcurrencyLimit {
  readonly #parts: ConcurrencyLimitDependencies;
  /** Handlers that have begun and not ended. */
  #running = 0;
  /** The running handlers that wait for an answer. */
  #waiting = 0;
  /** Bodies of the calls whose handlers run. */
  #bytes = 0;
  #held: QueuedCall[] = [];
  #allowed: number;
  #isBeginning = false;
  #isScheduled = false;

  constructor(parts: ConcurrencyLimitDependencies) {
    this.#parts = parts;
    this.#allowed = parts.most;
  }

  /**
   * Says what becomes of a call that has arrived. One that begins now has its place, and one for later is kept here until it
   * is begun, refused or taken out.
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

  /** Gives a call its place, whether there is one or not: it comes again, or no handler runs for it. */
  enter({ size }: Delivery): void {
    this.#running += 1;
    this.#bytes += size;
  }

  /** A handler has ended. */
  leave({ size }: Delivery): void {
    this.#running -= 1;
    this.#bytes -= size;
    this.#beginHeld();
    this.#adapt();
  }

  /** A handler begins to wait for an answer, or goes on with one. */
  readonly waits = (isWaiting: boolean): void => {
    this.#waiting += isWaiting ? 1 : -1;
    if (!isWaiting) return;
    if (this.#held.length === 0) {
      this.#adapt();
      return;
    }
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    // Later and outside: nobody's handler begins inside of the call that another one makes.
    runOutsideContext(queueMicrotask, () => {
      this.#isScheduled = false;
      this.#beginHeld();
      this.#adapt();
    });
  };

  /** Why a call is turned away, in words. */
  get full(): string {
    const { mostWaiting } = this.#parts;
    return this.#waiting < mostWaiting
      ? `the bodies of the ${this.#running} calls in hand take ${this.#bytes} bytes, and more than ${MOST_BYTES} would be too many`
      : `${this.#waiting} of its handlers wait for answers to calls of their own, and concurrency.waiting is ${mostWaiting}`;
  }

  /** Takes out what waits for a place. */
  takeHeld(which: "all" | "from outside"): readonly Delivery[] {
    const held = this.#held;
    this.#held = which === "all" ? [] : held.filter(({ delivery }) => delivery.isNear);
    return held.filter((each) => !this.#held.includes(each)).map(({ delivery }) => delivery);
  }

  /** The next connection begins with what the broker is allowed at first. */
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

  // One by one, not one within the other: a handler may end in the turn in which it begins.
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

  // More if there are places that the broker may not fill. Messages are at most as many as the calls in them.
  #adapt(): void {
    const { most, mostWaiting, allow } = this.#parts;
    const isStarving = this.#hasPlace && this.#running >= this.#allowed;
    if (isStarving && this.#allowed < most + mostWaiting) this.#allowed *= 2;
    else if (this.#allowed > most && this.#running < this.#allowed * SHRINK_BELOW) this.#allowed /= 2;
    else return;
    allow(this.#allowed);
  }
}
