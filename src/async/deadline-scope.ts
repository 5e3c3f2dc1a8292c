/** Runs work within a deadline, in an asynchronous context of its own, so that all calls made by the work know the deadline. */

import { AsyncLocalStorage } from "node:async_hooks";
import type { MaybePromise } from "./maybe-promise.ts";
import { newEmptyResource, runInNewContext } from "./outside-context.ts";
import { SlotSet, type SlotSetItem } from "./slot-set.ts";
import { startTimer, stopTimer, TimeoutEntry, timedOut } from "./timed-promise.ts";

/** The reason for a failure if the time limit passed first. */
export const overdue: unique symbol = Symbol("overdue");
/** The reason for a failure if the shutdown stopped waiting for the work. */
export const abandoned: unique symbol = Symbol("abandoned");

/**
 * The deadline of a handler, for everything that the handler calls. It does not refer to the message, because a socket or timer
 * created in a handler keeps this object in memory for as long as it exists.
 */
export class DeadlineScope {
  /** When the handler must end, on the monotonic clock. */
  readonly deadline: number;
  readonly #beside: RunningHandlers;
  #waits: ((isWaiting: boolean) => void) | undefined;
  /** Number of calls that the handler has made and that are not answered yet. */
  #calls = 0;
  #isEnded = false;

  /** Calls `waits` when the handler begins to wait for answers to its calls, and when it continues. */
  constructor(deadline: number, beside: RunningHandlers, waits: ((isWaiting: boolean) => void) | undefined) {
    this.deadline = deadline;
    this.#beside = beside;
    this.#waits = waits;
  }

  /** The scope of the running code; `undefined` outside handlers, and in work that continues after its handler has ended. */
  static get current(): DeadlineScope | undefined {
    const scope = scopes.getStore();
    return scope === undefined || scope.#isEnded ? undefined : scope;
  }

  /** True while the handler's service is being shut down. */
  get isLeaving(): boolean {
    return this.#beside.isLeaving;
  }

  /** Records that the handler made a call. */
  asks(): void {
    this.#calls += 1;
    if (this.#calls === 1) this.#waits?.(true);
  }

  /** Records that a call of the handler has settled. */
  goesOn(): void {
    this.#calls -= 1;
    if (this.#calls === 0) this.#waits?.(false);
  }

  /** Records that the handler has ended. */
  end(): void {
    this.#isEnded = true;
    this.leave();
  }

  /** Records that the dispatcher stopped waiting for the handler. Its calls then no longer make it count as waiting. */
  leave(): void {
    const waits = this.#waits;
    this.#waits = undefined;
    if (this.#calls > 0) waits?.(false);
  }
}

/**
 * One run of a handler: its time limit, its context and its outcome. The subclasses `CallInProgress` (process-call.ts) and
 * `Attempt` (process-message.ts) define the work.
 */
export abstract class HandlerRun<Result = unknown, End = unknown>
  extends TimeoutEntry
  implements SlotSetItem
{
  slot = -1;
  /** On the monotonic clock. */
  readonly began: number = performance.now();
  readonly ms: number;
  readonly scope: DeadlineScope;
  /** The handler's context, once it exists. Its signal aborts when the dispatcher stops waiting for the handler. */
  context: { abort(reason: unknown): void } | undefined;
  /** Set when the dispatcher stops waiting for the handler. */
  stopped: { readonly reason: unknown } | undefined;
  /** Called with the reason if the dispatcher stops waiting before the handler ends. */
  onStop: ((reason: unknown) => void) | undefined;
  readonly #beside: RunningHandlers;
  #resolve: ((end: MaybePromise<End>) => void) | undefined;

  /** Passes `waits` on to {@link DeadlineScope}. */
  constructor(ms: number, beside: RunningHandlers, waits: ((isWaiting: boolean) => void) | undefined) {
    super();
    this.ms = ms;
    this.#beside = beside;
    this.scope = new DeadlineScope(this.began + ms, beside, waits);
  }

  /** The `correlation_id` of a call. */
  abstract readonly correlationId: string | undefined;
  /** The subject of the wait, as a phrase that follows 'while waiting for'. */
  abstract get what(): string;
  /** Does the work itself: validation and handler. */
  abstract work(): MaybePromise<Result>;
  /** Makes the outcome from the result of the work. */
  abstract returned(result: Result): MaybePromise<End>;
  /**
   * Makes the outcome if the work threw, its time limit passed ({@link overdue}), or the shutdown stopped waiting for it
   * ({@link abandoned}).
   */
  abstract failed(reason: unknown): MaybePromise<End>;

  /**
   * Does the work within its time limit and returns the outcome. After {@link overdue} and {@link abandoned}, the work's signal
   * has aborted; the work may still continue, but its result is ignored.
   */
  run(): MaybePromise<End> {
    if (this.#beside.isClosed) return this.failed(abandoned);
    let result: MaybePromise<Result>;
    try {
      // An empty resource, because a handler may begin where another has ended, or inside the handler that calls it. A new one
      // for each run, so that a storage that one handler enters with `enterWith` is not visible to handlers that run later in
      // the same callback.
      result = newEmptyResource("confluo.handler").runInAsyncScope(workWithin<Result, End>, this);
    } catch (error) {
      this.scope.end();
      return this.failed(error);
    }
    if (result instanceof Promise) return this.#watch(result);
    this.scope.end();
    return this.returned(result);
  }

  // Only work that returns a promise needs a time limit and can be abandoned.
  #watch(coming: Promise<Result>): Promise<End> {
    const end = new Promise<End>((resolve) => {
      this.#resolve = resolve;
    });
    // The timer is started before the promise is observed, because a subclass of Promise may call back synchronously.
    startTimer(this, this.ms);
    this.#beside.running.add(this as HandlerRun);
    coming.then(
      (result) => {
        this.scope.end();
        if (this.#forget()) this.#resolve?.(this.returned(result));
      },
      (error: unknown) => {
        this.scope.end();
        if (this.#forget()) this.#resolve?.(this.failed(error));
      },
    );
    return end;
  }

  override pass(): void {
    this.#stop(overdue, timedOut(this));
  }

  abandon(reason: unknown): void {
    this.#stop(abandoned, reason);
  }

  // The signal of the work aborts, because the work may still be running.
  #stop(why: typeof overdue | typeof abandoned, reason: unknown): void {
    if (!this.#forget()) return;
    this.stopped = { reason };
    this.scope.leave();
    this.#resolve?.(this.failed(why));
    runInNewContext(() => {
      this.onStop?.(reason);
      this.context?.abort(reason);
    });
  }

  /** @returns whether the dispatcher still waited for the work. */
  #forget(): boolean {
    stopTimer(this);
    return this.#beside.running.delete(this as HandlerRun);
  }
}

const scopes = new AsyncLocalStorage<DeadlineScope>();

function workWithin<Result, End>(this: HandlerRun<Result, End>): MaybePromise<Result> {
  scopes.enterWith(this.scope); // the resource belongs to this run only, so there is no former context to restore
  return this.work();
}

/** The handlers that a service is running, each a {@link HandlerRun}. A shutdown abandons them together. */
export class RunningHandlers {
  /** The runs that returned a promise. */
  readonly running: SlotSet<HandlerRun> = new SlotSet();
  // Only the dispatcher sets these two fields; `resume` resets both.
  /** True once no further handler is started. */
  isClosed = false;
  /** True while the service is being shut down. */
  isLeaving = false;

  /** Returns whether a call is running. */
  has(correlationId: string): boolean {
    return this.running.find((run) => run.correlationId === correlationId) !== undefined;
  }

  /** Makes a running call give up its place: it counts as waiting until it ends. */
  letGo(correlationId: string): void {
    this.running.find((run) => run.correlationId === correlationId)?.scope.asks();
  }

  /** Stops waiting for all runs, and aborts their signals with the reason. */
  abandon(reason: unknown): void {
    for (const run of this.running.list()) run.abandon(reason);
  }

  /** Allows new runs again. */
  resume(): void {
    this.isClosed = false;
    this.isLeaving = false;
  }
}

/**
 * Returns how long a call may wait: its own limit or, inside a handler, the rest of the handler's time if that is less. May be
 * 0 or less.
 */
export function remainingMs(ownMs: number, scope: DeadlineScope | undefined): number {
  return scope === undefined ? ownMs : Math.min(ownMs, Math.floor(scope.deadline - performance.now()));
}
