/** Promises that settle by themselves, at their deadline or when their signal fires. */

import { ConfluoError, isConfluoError } from "../errors.ts";
import { onAbort } from "./abort.ts";
import type { Gate } from "./gate.ts";
import { startTimer, stopTimer, TimeoutEntry } from "./timeouts.ts";

/** Bounds of a wait. */
export interface WaitLimits {
  readonly ms: number;
  readonly signal: AbortSignal | undefined;
}

/** Bounds of a wait, and what for. */
export interface NamedWaitLimits extends WaitLimits {
  /** What is waited for, in words that follow 'while waiting for'. */
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
  /** Whether it has ended. Only the wait itself writes it. */
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

  /** What is waited for, in words that follow 'while waiting for'. */
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
