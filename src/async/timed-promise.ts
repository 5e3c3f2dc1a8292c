/** Promises that settle by themselves, at their deadline or when their signal fires, and the timers of many deadlines of few lengths. */

import { ConfluoError, isConfluoError } from "../errors.ts";
import { onAbort } from "./abort.ts";
import type { Gate } from "./gate.ts";
import { runOutsideContext } from "./outside-context.ts";

/** A timer that is late by more has waited for something that held the event loop. */
const STALL_MS = 10;
/** More queues than that keep no timers: what is left of a deadline may be any number of milliseconds. */
const MOST_QUEUES = 64;

/** An entry that is told when its time has passed. While it waits, it stands in a queue, which alone writes these fields. */
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
 * The entries that wait for the same number of milliseconds, in the order in which they came, which is that in which they are due. One timer of
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
      // A timer that is left from an earlier wait is due before this entry, and is armed again then.
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

/** Bounds of a wait. */
export interface WaitLimits {
  readonly ms: number;
  readonly signal: AbortSignal | undefined;
}

/** Bounds of a wait, and what for. */
export interface NamedWaitLimits extends WaitLimits {
  /** Names what is waited for, in words that follow 'while waiting for'. */
  readonly what: string;
}

/** The error of a wait that took too long. */
export function timedOut({ ms, what }: Pick<NamedWaitLimits, "ms" | "what">): ConfluoError<"TIMEOUT"> {
  return new ConfluoError("TIMEOUT", `The deadline of ${ms} ms passed while waiting for ${what}.`);
}

/** The error of a wait that its caller ended. */
export function cancelled(what: string, signal: AbortSignal): ConfluoError<"CANCELLED"> {
  return new ConfluoError("CANCELLED", `The caller stopped waiting for ${what}.`, { cause: signal.reason });
}

/** Resolves when a gate opens or, leaving nothing behind at the gate, when the wait is over. */
export function untilOpen(gate: Gate, waiter: Pick<TimedPromiseControls<unknown>, "onEnd">): Promise<void> {
  return new Promise((resolve) => {
    const leave = gate.onOpen(resolve);
    waiter.onEnd(() => {
      leave();
      resolve();
    });
  });
}

/** How a wait is ended from within. After its end, by whatever cause, nothing more happens. */
export interface TimedPromiseControls<Value> {
  readonly over: boolean;
  /** Calls back when the wait is over, whatever ended it. */
  onEnd(callback: () => void): void;
  resolve(value: Value): void;
  reject(error: unknown): void;
}

/** A promise that settles by itself, at its deadline or when its signal fires, whichever is first. */
export abstract class TimedPromise<Value> extends TimeoutEntry implements TimedPromiseControls<Value> {
  readonly promise: Promise<Value>;
  /** True once it has ended. Only the wait itself writes it. */
  over = false;
  readonly #ms: number;
  #resolve!: (value: Value | Promise<never>) => void;
  #endings: (() => void)[] | undefined;

  constructor(ms: number) {
    super();
    this.#ms = ms;
    this.promise = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  /** Names what is waited for, in words that follow 'while waiting for'. */
  protected abstract get what(): string;

  /** Called once, whatever ended the wait: timer and listener are gone by then. */
  protected abstract ended(): void;

  /** Begins to count. @returns whether there is still something to wait for. */
  begin(signal: AbortSignal | undefined): boolean {
    if (signal?.aborted) {
      this.reject(cancelled(this.what, signal));
      return false;
    }
    startTimer(this, this.#ms);
    if (signal !== undefined) this.onEnd(onAbort(signal, () => this.reject(cancelled(this.what, signal))));
    return true;
  }

  onEnd(callback: () => void): void {
    if (this.over) callback();
    else if (this.#endings === undefined) this.#endings = [callback];
    else this.#endings.push(callback);
  }

  resolve(value: Value): void {
    this.#end(value);
  }

  reject(error: unknown): void {
    if (!this.over) this.#end(Promise.reject(error));
  }

  override pass(): void {
    this.reject(timedOut({ ms: this.#ms, what: this.what }));
  }

  #end(outcome: Value | Promise<never>): void {
    if (this.over) return;
    this.over = true;
    stopTimer(this);
    if (this.#endings !== undefined) for (const callback of this.#endings) callback();
    this.ended();
    this.#resolve(outcome);
  }
}

/**
 * Gives an error of ours a stack that leads to whoever waits for it: it was made in a timer or a callback of the connection.
 * For `catch` on the promise that is waited for, since V8 follows only that from here to there.
 */
export function withCallerStack(error: unknown): never {
  if (isConfluoError(error) && Object.isExtensible(error)) Error.captureStackTrace?.(error, withCallerStack);
  throw error;
}

class StartedTimedPromise<Value> extends TimedPromise<Value> {
  protected readonly what: string;
  readonly #ended: (() => void) | undefined;

  constructor(limits: NamedWaitLimits, ended: (() => void) | undefined) {
    super(limits.ms);
    this.what = limits.what;
    this.#ended = ended;
  }

  protected ended(): void {
    this.#ended?.();
  }

  /** The same with functions that can be passed on by themselves. */
  get waiter(): TimedPromiseControls<Value> {
    const isOver = (): boolean => this.over;
    return {
      get over() {
        return isOver();
      },
      onEnd: (callback) => this.onEnd(callback),
      resolve: (value) => this.resolve(value),
      reject: (error) => this.reject(error),
    };
  }
}

/** A {@link TimedPromise} for what `start` begins. `ended` is called once, whatever ended it. */
export function waitFor<Value>(
  limits: NamedWaitLimits,
  start: (waiter: TimedPromiseControls<Value>) => void,
  ended?: () => void,
): Promise<Value> {
  const wait = new StartedTimedPromise<Value>(limits, ended);
  if (wait.begin(limits.signal)) {
    try {
      start(wait.waiter);
    } catch (error) {
      wait.reject(error);
    }
  }
  return wait.promise;
}

/** A promise's outcome, within limits. Beyond them, nobody hears of it. */
export function settledWithin<Value>(limits: NamedWaitLimits, work: Promise<Value>): Promise<Value> {
  const wait = new StartedTimedPromise<Value>(limits, undefined);
  wait.begin(limits.signal);
  work.then(
    (value) => wait.resolve(value),
    (error: unknown) => wait.reject(error),
  );
  return wait.promise;
}
