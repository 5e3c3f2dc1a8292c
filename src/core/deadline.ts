/** Deadlines: checked, inherited by what a handler calls, and kept. */

import { AsyncLocalStorage } from "node:async_hooks";
import { ConfluoError, invalidArgument } from "../errors.ts";
import { onAbort } from "../waiting/abort.ts";
import type { Gate } from "../waiting/gate.ts";
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
  /** Of the handler of a call, which keeps its place until it ends: what it has run here, one after the other. */
  readonly nested: Nested | undefined;
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
  const nested = isCall ? new Nested() : undefined;
  const own: Running = { deadline: performance.now() + ms, nested, ended: false };
  const end = (): void => {
    own.ended = true;
  };
  const work = running.run(own, handler);
  work.then(end, end);
  return work;
}

/** Work done in the place of a handler: one piece at a time, or a place would be any number of them. */
export class Nested {
  #last: Promise<unknown> = Promise.resolve();

  /** Does it when what was asked for before is done. */
  run(work: () => Promise<unknown>): void {
    this.#last = this.#last.then(work, work);
    this.#last.catch(() => undefined);
  }
}

/** The place of the handler of a call that this is running in, if it is. */
export function nestedInCall(): Nested | undefined {
  const handler = running.getStore();
  return handler === undefined || handler.ended ? undefined : handler.nested;
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
    const endings: (() => void)[] = [];
    const end = (): boolean => {
      if (over) return false;
      over = true;
      clearTimeout(timer);
      stopListening?.();
      ended?.();
      for (const callback of endings) callback();
      return true;
    };
    const waiter: Waiter<Value> = {
      get over() {
        return over;
      },
      onEnd: (callback) => {
        if (over) callback();
        else endings.push(callback);
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
