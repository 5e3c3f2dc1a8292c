/** Deadlines: checked, inherited by what a handler calls, and kept. */

import { AsyncLocalStorage } from "node:async_hooks";
import { ConfluoError, invalidArgument } from "../errors.ts";
import { onAbort } from "../waiting/abort.ts";
import { type Known, knownOptions, type Waiting } from "./options.ts";

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

interface Running {
  /** On the monotonic clock. */
  readonly deadline: number;
  /** Whether it takes one of the places for calls. */
  readonly isCall: boolean;
  /** What a handler left running when it ended is nobody's handler any more. */
  ended: boolean;
}

const running = new AsyncLocalStorage<Running>();

/** What runs, and how long it may. */
export interface RunLimits {
  readonly ms: number;
  /** In words that follow 'while waiting for'. */
  readonly what: string;
  readonly isCall: boolean;
}

/** Runs a handler whose deadline is a number of milliseconds from now. */
export function runWithin<Result>(
  { ms, isCall }: RunLimits,
  handler: () => Promise<Result>,
): Promise<Result> {
  const own: Running = { deadline: performance.now() + ms, isCall, ended: false };
  const end = (): void => {
    own.ended = true;
  };
  const work = running.run(own, handler);
  work.then(end, end);
  return work;
}

/** Whether this is the handler of a call, which keeps its place until it ends. */
export function isRunningCall(): boolean {
  const handler = running.getStore();
  return handler?.isCall === true && !handler.ended;
}

/** What a call may wait: its own limit or, inside a handler, what is left of the handler's. May be 0 or less. */
export function remainingMs(ownMs: number): number {
  const handler = running.getStore();
  if (handler === undefined || handler.ended) return ownMs;
  return Math.min(ownMs, Math.floor(handler.deadline - performance.now()));
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

/** How a wait is ended from within. After its end, by whatever cause, nothing more happens. */
export interface Waiter<Value> {
  readonly over: boolean;
  resolve(value: Value): void;
  reject(error: unknown): void;
}

/**
 * A promise that settles by itself, at its deadline or when its signal fires, whichever is first. `ended` is called
 * once, whatever ended the wait: timer and listener are gone by then.
 */
export function waitFor<Value>(
  limits: WaitLimits,
  start: (waiter: Waiter<Value>) => void,
  ended?: () => void,
): Promise<Value> {
  const { ms, signal, what } = limits;
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      ended?.();
      reject(cancelled(what, signal));
      return;
    }
    let over = false;
    let timer: NodeJS.Timeout | undefined;
    let stopListening: (() => void) | undefined;
    const end = (): boolean => {
      if (over) return false;
      over = true;
      clearTimeout(timer);
      stopListening?.();
      ended?.();
      return true;
    };
    const waiter: Waiter<Value> = {
      get over() {
        return over;
      },
      resolve: (value) => {
        if (end()) resolve(value);
      },
      reject: (error) => {
        if (end()) reject(error);
      },
    };
    timer = setTimeout(() => waiter.reject(timedOut(limits)), ms);
    try {
      if (signal !== undefined) stopListening = onAbort(signal, () => waiter.reject(cancelled(what, signal)));
      start(waiter);
    } catch (error) {
      waiter.reject(error);
    }
  });
}
