/** Deadlines: checked, inherited by what a handler calls, and kept. */

import { AsyncLocalStorage } from "node:async_hooks";
import { ConfluoError, invalidArgument, isConfluoError } from "../errors.ts";
import { onAbort } from "../waiting/abort.ts";
import type { Gate } from "../waiting/gate.ts";
import { type Known, knownOptions, type Waiting } from "./options.ts";
import { emptyResource } from "./outside.ts";
import { startTimer, stopTimer, Timed } from "./timers.ts";

/** `setTimeout`'s bound, 24 days: beyond it a timer would fire at once. */
export const LONGEST_MS = 2_147_483_647;

/** Checks a wait in milliseconds. */
export function checkMs(what: string, ms: number): number {
  if (typeof ms !== "number" || !(ms >= 1) || ms > LONGEST_MS) {
    throw invalidArgument(what, `a number of milliseconds from 1 to ${LONGEST_MS}`, ms);
  }
  return Math.ceil(ms);
}

/** Checks an `AbortSignal`, be it of another realm. */
export function checkSignal(signal: AbortSignal | undefined): AbortSignal | undefined {
  if (signal === undefined) return undefined;
  if (isSignal(signal)) return signal;
  throw invalidArgument("signal", "an AbortSignal", signal);
}

function isSignal(value: unknown): value is AbortSignal {
  if (typeof value !== "object" || value === null) return false;
  const { aborted, addEventListener, removeEventListener } = value as Partial<AbortSignal>;
  return (
    typeof aborted === "boolean" &&
    typeof addEventListener === "function" &&
    typeof removeEventListener === "function"
  );
}

/** What runs, and how long it may. */
export interface RunLimits {
  readonly ms: number;
  /** In words that follow 'while waiting for'. */
  readonly what: string;
  /** Is told when it begins to wait for answers to calls, and when it goes on; `undefined` if that makes no difference. */
  readonly waits: ((isWaiting: boolean) => void) | undefined;
}

/** What everything knows that a handler calls: until when it may run. */
export class Scope {
  /** On the monotonic clock. */
  readonly began: number = performance.now();
  readonly deadline: number;
  #waits: RunLimits["waits"];
  /** Calls that it has made and that are not answered. */
  #calls = 0;
  #ended = false;
  readonly #of: { readonly isLeaving: boolean };

  /** @param of whether the service that it runs in is being shut down. */
  constructor({ ms, waits }: RunLimits, of: { readonly isLeaving: boolean }) {
    this.#of = of;
    this.deadline = this.began + ms;
    this.#waits = waits;
  }

  /** The scope that this is running in, if it is. What a handler left running when it ended is nobody's handler any more. */
  static get current(): Scope | undefined {
    const scope = scopes.getStore();
    return scope === undefined || scope.#ended ? undefined : scope;
  }

  run<Argument, Result>(task: { work(argument: Argument): Result }, argument: Argument): Result {
    // Empty, since a handler may be begun where another has ended, or by the handler that calls it; and of its own: what it
    // enters by `enterWith` of its own storage is not for those that run after it in the same callback.
    return emptyResource("confluo.handler").runInAsyncScope(begin<Argument, Result>, this, task, argument);
  }

  get isLeaving(): boolean {
    return this.#of.isLeaving;
  }

  /** A call was made in it. */
  asks(): void {
    this.#calls += 1;
    if (this.#calls === 1) this.#waits?.(true);
  }

  /** A call that was made in it waits no longer. */
  goesOn(): void {
    this.#calls -= 1;
    if (this.#calls === 0) this.#waits?.(false);
  }

  /** Nobody waits for it any more, so it does not count as waiting, whatever it goes on to do. */
  leave(): void {
    const waits = this.#waits;
    this.#waits = undefined;
    if (this.#calls > 0) waits?.(false);
  }

  end(): void {
    this.#ended = true;
    this.leave();
  }
}

const scopes = new AsyncLocalStorage<Scope>();

function begin<Argument, Result>(
  this: Scope,
  task: { work(argument: Argument): Result },
  argument: Argument,
): Result {
  scopes.enterWith(this); // the resource is this run's own: there is nothing to go back to
  return task.work(argument);
}

/** What a call may wait: its own limit or, inside a handler, what is left of the handler's. May be 0 or less. */
export function remainingMs(ownMs: number, scope: Scope | undefined = Scope.current): number {
  return scope === undefined ? ownMs : Math.min(ownMs, Math.floor(scope.deadline - performance.now()));
}

/** Bounds of a wait. */
export interface Limits {
  readonly ms: number;
  readonly signal: AbortSignal | undefined;
}

const waitingOptions: Known<Waiting> = { timeoutMs: true, signal: true };

/**
 * Bounds of what takes no other options.
 *
 * @throws `INVALID_ARGUMENT`.
 */
export function waitSettings(of: string, given: Waiting | undefined, defaultMs: number): Limits {
  const { timeoutMs = defaultMs, signal } = knownOptions(of, given, waitingOptions);
  return { ms: checkMs("timeoutMs", timeoutMs), signal: checkSignal(signal) };
}

/** Bounds of a wait, and what for. */
export interface WaitLimits extends Limits {
  /** What is waited for, in words that follow 'while waiting for'. */
  readonly what: string;
}

/** The error of a wait that took too long. */
export function timedOut({ ms, what }: Pick<WaitLimits, "ms" | "what">): ConfluoError<"TIMEOUT"> {
  return new ConfluoError("TIMEOUT", `The deadline of ${ms} ms passed while waiting for ${what}.`);
}

/** The error of a wait that its caller ended. */
export function cancelled(what: string, signal: AbortSignal): ConfluoError<"CANCELLED"> {
  return new ConfluoError("CANCELLED", `The caller stopped waiting for ${what}.`, { cause: signal.reason });
}

/** Resolves when a gate opens or, leaving nothing behind at the gate, when the wait is over. */
export function passed(gate: Gate, waiter: Pick<Waiter<unknown>, "onEnd">): Promise<void> {
  return new Promise((resolve) => {
    const leave = gate.onOpen(resolve);
    waiter.onEnd(() => {
      leave();
      resolve();
    });
  });
}

/** How a wait is ended from within. After its end, by whatever cause, nothing more happens. */
export interface Waiter<Value> {
  readonly over: boolean;
  /** Calls back when the wait is over, whatever ended it. */
  onEnd(callback: () => void): void;
  resolve(value: Value): void;
  reject(error: unknown): void;
}

/** A promise that settles by itself, at its deadline or when its signal fires, whichever is first. */
export abstract class Wait<Value> extends Timed implements Waiter<Value> {
  readonly promise: Promise<Value>;
  readonly #ms: number;
  /** `undefined` once it is over. */
  #resolve: ((value: Value | Promise<never>) => void) | undefined;
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

  get over(): boolean {
    return this.#resolve === undefined;
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
    const resolve = this.#resolve;
    if (resolve === undefined) return;
    this.#resolve = undefined;
    stopTimer(this);
    if (this.#endings !== undefined) for (const callback of this.#endings) callback();
    this.ended();
    resolve(outcome);
  }
}

/**
 * Gives an error of ours a stack that leads to whoever waits for it: it was made in a timer or a callback of the connection.
 * For `catch` on the promise that is waited for, since V8 follows only that from here to there.
 */
export function atCaller(error: unknown): never {
  if (isConfluoError(error) && Object.isExtensible(error)) Error.captureStackTrace?.(error, atCaller);
  throw error;
}

class PlainWait<Value> extends Wait<Value> {
  protected readonly what: string;
  readonly #ended: (() => void) | undefined;

  constructor(limits: WaitLimits, ended: (() => void) | undefined) {
    super(limits.ms);
    this.what = limits.what;
    this.#ended = ended;
  }

  protected ended(): void {
    this.#ended?.();
  }

  /** The same with functions that can be passed on by themselves. */
  get waiter(): Waiter<Value> {
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

/** A {@link Wait} for what `start` begins. `ended` is called once, whatever ended it. */
export function waitFor<Value>(
  limits: WaitLimits,
  start: (waiter: Waiter<Value>) => void,
  ended?: () => void,
): Promise<Value> {
  const wait = new PlainWait<Value>(limits, ended);
  if (wait.begin(limits.signal)) {
    try {
      start(wait.waiter);
    } catch (error) {
      wait.reject(error);
    }
  }
  return wait.promise;
}
