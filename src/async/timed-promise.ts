/**
 * Promises that settle at their deadline or when their signal aborts, and timers for many deadlines of few different lengths.
 */

import { ConfluoError, isConfluoError } from "../errors.ts";
import { onAbort } from "./abort.ts";
import type { Gate } from "./gate.ts";
import { runOutsideContext } from "./outside-context.ts";

/** A timer that fires later than this was delayed by a stall of the event loop. */
const STALL_MS = 10;
/**
 * With more queues than this, an empty queue drops its timer, because the rest of a deadline may be any number of milliseconds.
 */
const MOST_QUEUES = 64;

/** An entry with a time limit. While it waits, it is linked into a queue; only the queue writes these fields. */
export abstract class TimeoutEntry {
  /** On the monotonic clock, while it waits. */
  dueAt = 0;
  queue: TimeoutQueue | undefined;
  before: TimeoutEntry | undefined;
  behind: TimeoutEntry | undefined;

  /** Called when the time has passed. */
  abstract pass(): void;
}

/**
 * The entries that wait for the same number of milliseconds. Their order of arrival is also the order in which they are due, so
 * one timer of Node serves them all. A timer for each would take about 230 bytes, a fifth of the memory of a waiting call.
 */
class TimeoutQueue {
  readonly #ms: number;
  /** The `setTimeout` in use when the queue was created: a test may replace it. */
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
      // A timer left from an earlier wait fires before this entry is due, and is then set again.
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

  // Keeps the timer, but lets the process exit. A service that makes one call after the other would otherwise set and clear it
  // for each call.
  #rest(): void {
    // A timer of a test's fake clock is not kept, because the test may remove it without notice.
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

  // After a stall of the event loop, timers fire before the sockets are read, but data that has arrived must be processed
  // first. Waits two turns, because the first read may not return all data.
  readonly #read = (): void => {
    this.#reading = setImmediate(this.#check);
  };

  readonly #check = (): void => {
    this.#reading = undefined;
    // A timer that has fired counts as due even if the other clock disagrees, because a test may have replaced one of the two.
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

// Looks up `setTimeout` at each call, because tests replace it.
function startTimeout(callback: () => void, ms: number): NodeJS.Timeout {
  return setTimeout(callback, ms);
}

const ownClock = globalThis.setTimeout;
const queues = new Map<number, TimeoutQueue>();

/** Calls {@link TimeoutEntry.pass} after a number of milliseconds, as precisely as `setTimeout`, unless it is stopped first. */
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

/** Stops a timer. Does nothing if it was not started or has fired. */
export function stopTimer(timed: TimeoutEntry): void {
  timed.queue?.delete(timed);
}

/** The time limit and signal of a wait. */
export interface WaitLimits {
  readonly ms: number;
  readonly signal: AbortSignal | undefined;
}

/** The limits of a wait, and its subject. */
export interface NamedWaitLimits extends WaitLimits {
  /** The subject of the wait, as a phrase that follows 'while waiting for'. */
  readonly what: string;
}

/** Makes the error of a wait whose deadline passed. */
export function timedOut({ ms, what }: Pick<NamedWaitLimits, "ms" | "what">): ConfluoError<"TIMEOUT"> {
  return new ConfluoError("TIMEOUT", `The deadline of ${ms} ms passed while waiting for ${what}.`);
}

/** Makes the error of a wait that its caller cancelled. */
export function cancelled(what: string, signal: AbortSignal): ConfluoError<"CANCELLED"> {
  return new ConfluoError("CANCELLED", `The caller stopped waiting for ${what}.`, { cause: signal.reason });
}

/** Resolves when a gate opens or when the wait is over; in the latter case the gate keeps no reference. */
export function untilOpen(gate: Gate, waiter: Pick<TimedPromiseControls<unknown>, "onEnd">): Promise<void> {
  return new Promise((resolve) => {
    const leave = gate.onOpen(resolve);
    waiter.onEnd(() => {
      leave();
      resolve();
    });
  });
}

/** The controls that settle a wait. They do nothing once it has ended. */
export interface TimedPromiseControls<Value> {
  readonly over: boolean;
  /** Calls back when the wait has ended, for any reason. */
  onEnd(callback: () => void): void;
  resolve(value: Value): void;
  reject(error: unknown): void;
}

/** A promise that settles at its deadline or when its signal aborts, whichever is first, unless it was settled before. */
export abstract class TimedPromise<Value> extends TimeoutEntry implements TimedPromiseControls<Value> {
  readonly promise: Promise<Value>;
  /** True once the wait has ended; only the wait itself writes it. */
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

  /** The subject of the wait, as a phrase that follows 'while waiting for'. */
  protected abstract get what(): string;

  /** Called once, when the wait has ended for any reason. The timer and the listener are already removed. */
  protected abstract ended(): void;

  /** Starts the timer and observes the signal. @returns false if the signal has already aborted. */
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
 * Gives an error of confluo a stack that leads to the code that awaits it, because the error was created in a timer or a
 * callback of the connection. Pass it to `catch` on the awaited promise itself: V8 follows only that promise back to the
 * awaiting code.
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

  /** The same controls as functions that can be passed on separately. */
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

/**
 * Makes a {@link TimedPromise} for the work that `start` begins. Calls `ended` once, when the wait has ended for any reason.
 */
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

/** Settles like a promise, within limits. After that, the outcome of the promise is ignored. */
export function settledWithin<Value>(limits: NamedWaitLimits, work: Promise<Value>): Promise<Value> {
  const wait = new StartedTimedPromise<Value>(limits, undefined);
  wait.begin(limits.signal);
  work.then(
    (value) => wait.resolve(value),
    (error: unknown) => wait.reject(error),
  );
  return wait.promise;
}
