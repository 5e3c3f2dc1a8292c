/** Many waits of few lengths: most calls have the same deadline. */

import { runOutsideContext } from "./outside-context.ts";

/** A timer that is late by more has waited for something that held the event loop. */
const STALL_MS = 10;
/** More queues than that keep no timers: what is left of a deadline may be any number of milliseconds. */
const MOST_QUEUES = 64;

/** What is told when its time has passed. While it waits, it stands in a line, and only that writes these. */
export abstract class TimeoutEntry {
  /** On the monotonic clock, once it waits. */
  dueAt = 0;
  queue: TimeoutQueue | undefined;
  before: TimeoutEntry | undefined;
  behind: TimeoutEntry | undefined;

  /** Its time has passed. */
  abstract pass(): void;
}

/**
 * All that wait for as long as each other, in the order in which they came, which is that in which they are due. One timer of
 * Node's serves them all: one for each takes some 230 bytes, a fifth of what a waiting call takes.
 */
class TimeoutQueue {
  readonly #ms: number;
  /** By which it tells the time: a test may put another in its place. */
  readonly clock: typeof setTimeout = globalThis.setTimeout;
  readonly #ended: (line: TimeoutQueue) => void;
  #first: TimeoutEntry | undefined;
  #last: TimeoutEntry | undefined;
  #timer: NodeJS.Timeout | undefined;
  #reading: NodeJS.Immediate | undefined;
  #armedFor = 0;

  constructor(ms: number, ended: (line: TimeoutQueue) => void) {
    this.#ms = ms;
    this.#ended = ended;
  }

  add(timed: TimeoutEntry): void {
    timed.queue = this;
    timed.dueAt = performance.now() + this.#ms;
    timed.before = this.#last;
    if (this.#last === undefined) {
      this.#first = timed;
      // One that is left from an earlier wait is due before this one, and then armed again.
      if (this.#timer !== undefined) this.#timer.ref();
      else if (this.#reading === undefined) this.#arm(timed.dueAt);
    } else this.#last.behind = timed;
    this.#last = timed;
  }

  delete(timed: TimeoutEntry): void {
    const { before, behind } = timed;
    if (before === undefined) this.#first = behind;
    else before.behind = behind;
    if (behind === undefined) this.#last = before;
    else behind.before = before;
    timed.queue = undefined;
    timed.before = undefined;
    timed.behind = undefined;
    if (this.#first === undefined) this.#rest();
  }

  // The timer stays, without holding the process: a service that makes one call after the other would set it and stop it for
  // each of them.
  #rest(): void {
    // One by a test's clock could be taken away without a word.
    if (this.clock === ownClock && queues.size <= MOST_QUEUES) {
      this.#timer?.unref();
      return;
    }
    clearTimeout(this.#timer);
    this.#timer = undefined;
    clearImmediate(this.#reading);
    this.#reading = undefined;
    this.#ended(this);
  }

  #arm(dueAt: number): void {
    this.#armedFor = dueAt;
    const ms = Math.max(1, Math.ceil(dueAt - performance.now()));
    this.#timer = runOutsideContext(startTimeout, this.#fire, ms);
  }

  readonly #fire = (): void => {
    this.#timer = undefined;
    if (performance.now() - this.#armedFor < STALL_MS) this.#check();
    else this.#reading = setImmediate(this.#read);
  };

  // After a stall of the event loop timers fire before the sockets are read: what has arrived comes first. Twice, since what
  // is read first may have more behind it.
  readonly #read = (): void => {
    this.#reading = setImmediate(this.#check);
  };

  readonly #check = (): void => {
    this.#reading = undefined;
    // A timer that has fired is believed, whatever another clock says: one of them may be a test's.
    const now = Math.max(performance.now(), this.#armedFor);
    try {
      for (let first = this.#first; first !== undefined && first.dueAt <= now; first = this.#first) {
        this.delete(first);
        first.pass();
      }
    } finally {
      if (this.#first === undefined) this.#ended(this);
      else if (this.#timer === undefined) this.#arm(this.#first.dueAt);
    }
  };
}

// Looked up when it is called: tests put others in its place.
function startTimeout(callback: () => void, ms: number): NodeJS.Timeout {
  return setTimeout(callback, ms);
}

const ownClock = globalThis.setTimeout;
const queues = new Map<number, TimeoutQueue>();

/** Calls {@link TimeoutEntry.pass} after so many milliseconds, as exactly as `setTimeout` does, unless that is stopped before. */
export function startTimer(timed: TimeoutEntry, ms: number): void {
  let line = queues.get(ms);
  if (line === undefined || line.clock !== globalThis.setTimeout) {
    line = new TimeoutQueue(ms, (ended) => {
      if (queues.get(ms) === ended) queues.delete(ms);
    });
    queues.set(ms, line);
  }
  line.add(timed);
}

/** Stops what was started, if it was and has not passed. */
export function stopTimer(timed: TimeoutEntry): void {
  timed.queue?.delete(timed);
}
