/** Work within a deadline, in an asynchronous context of its own: until when it may run is known to everything that it calls. */

import { AsyncLocalStorage } from "node:async_hooks";
import type { MaybePromise } from "./maybe-promise.ts";
import { newEmptyResource, runInNewContext } from "./outside-context.ts";
import { SlotSet, type SlotSetItem } from "./slot-set.ts";
import { startTimer, stopTimer, TimeoutEntry, timedOut } from "./timed-promise.ts";

/** Why work failed whose limit passed first. */
export const overdue: unique symbol = Symbol("overdue");
/** Why work failed that the shutdown stopped waiting for. */
export const abandoned: unique symbol = Symbol("abandoned");

/**
 * The deadline of a handler, for all that it calls. It knows nothing of the message: a socket or a timer that was made in a
 * handler holds on to this for as long as it exists.
 */
export class DeadlineScope {
  /** When the handler has to end, on the monotonic clock. */
  readonly deadline: number;
  readonly #beside: RunningHandlers;
  #waits: ((isWaiting: boolean) => void) | undefined;
  /** Calls that were made in it and are not answered. */
  #calls = 0;
  #isEnded = false;

  /** `waits` is told when the handler begins to wait for answers to calls, and when it goes on: if that makes a difference. */
  constructor(deadline: number, beside: RunningHandlers, waits: ((isWaiting: boolean) => void) | undefined) {
    this.deadline = deadline;
    this.#beside = beside;
    this.#waits = waits;
  }

  /** The scope that this is running in, if it is. Work that a handler left running when it ended is in none. */
  static get current(): DeadlineScope | undefined {
    const scope = scopes.getStore();
    return scope === undefined || scope.#isEnded ? undefined : scope;
  }

  /** Tells whether the handler's service is being shut down. */
  get isLeaving(): boolean {
    return this.#beside.isLeaving;
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

  /** The handler has ended. */
  end(): void {
    this.#isEnded = true;
    this.leave();
  }

  /** Is called when nobody waits for the handler any more. From then on, its calls do not make it count as waiting. */
  leave(): void {
    const waits = this.#waits;
    this.#waits = undefined;
    if (this.#calls > 0) waits?.(false);
  }
}

/**
 * One run of a handler: its limit, its context, and what its end comes to. `CallInProgress` (process-call.ts) and `Attempt`
 * (process-message.ts) say what is run.
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
  /** The handler's context, once it is entered: its signal tells when nobody waits for it any more. */
  context: { abort(reason: unknown): void } | undefined;
  /** Is set when nobody waits for it any more. */
  stopped: { readonly reason: unknown } | undefined;
  /** Is called with the reason if nobody waits for it any more before it ends. */
  onStop: ((reason: unknown) => void) | undefined;
  readonly #beside: RunningHandlers;
  #resolve: ((end: MaybePromise<End>) => void) | undefined;

  /** `waits` as for {@link DeadlineScope}. */
  constructor(ms: number, beside: RunningHandlers, waits: ((isWaiting: boolean) => void) | undefined) {
    super();
    this.ms = ms;
    this.#beside = beside;
    this.scope = new DeadlineScope(this.began + ms, beside, waits);
  }

  /** The `correlation_id` of a call. */
  abstract readonly correlationId: string | undefined;
  /** In words that follow 'while waiting for'. */
  abstract get what(): string;
  /** Does the work itself, validation and handler alike. */
  abstract work(): MaybePromise<Result>;
  /** Is told what it returned. */
  abstract returned(result: Result): MaybePromise<End>;
  /** Is told that it threw, or its limit passed ({@link overdue}), or the shutdown stopped waiting for it ({@link abandoned}). */
  abstract failed(reason: unknown): MaybePromise<End>;

  /**
   * Does the work within its limit, and returns what its end comes to. After {@link overdue} and {@link abandoned} the work may
   * go on, told by its signal, and nobody listens to it any more.
   */
  run(): MaybePromise<End> {
    if (this.#beside.isClosed) return this.failed(abandoned);
    let result: MaybePromise<Result>;
    try {
      // Empty, since a handler may be begun where another has ended, or by the handler that calls it; and of its own: what it
      // enters by `enterWith` of its own storage is not for those that run after it in the same callback.
      result = newEmptyResource("confluo.handler").runInAsyncScope(workWithin<Result, End>, this);
    } catch (error) {
      this.scope.end();
      return this.failed(error);
    }
    if (result instanceof Promise) return this.#watch(result);
    this.scope.end();
    return this.returned(result);
  }

  // Only what is not over at once needs a limit, and can be abandoned.
  #watch(coming: Promise<Result>): Promise<End> {
    const end = new Promise<End>((resolve) => {
      this.#resolve = resolve;
    });
    // Before it listens: a subclass of Promise may call back in this very turn.
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

  // Work that still runs is told by its signal.
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

  /** @returns whether anyone still waited for it. */
  #forget(): boolean {
    stopTimer(this);
    return this.#beside.running.delete(this as HandlerRun);
  }
}

const scopes = new AsyncLocalStorage<DeadlineScope>();

function workWithin<Result, End>(this: HandlerRun<Result, End>): MaybePromise<Result> {
  scopes.enterWith(this.scope); // the resource is this run's own: there is nothing to go back to
  return this.work();
}

/** The handlers that one service is running, each a {@link HandlerRun}: abandoned together when a shutdown waits no longer. */
export class RunningHandlers {
  /** Work that was not over at once. */
  readonly running: SlotSet<HandlerRun> = new SlotSet();
  // Only the dispatcher sets these; `resume` takes both back.
  /** True once no handler is begun any more. */
  isClosed = false;
  /** True while the service is being shut down. */
  isLeaving = false;

  /** Returns whether a call runs. */
  has(correlationId: string): boolean {
    return this.running.find((run) => run.correlationId === correlationId) !== undefined;
  }

  /** Has a call, if it runs, go on without a place: it counts as waiting until it ends. */
  letGo(correlationId: string): void {
    this.running.find((run) => run.correlationId === correlationId)?.scope.asks();
  }

  /** Stops waiting for what runs, and fires its signals with the reason. */
  abandon(reason: unknown): void {
    for (const run of this.running.list()) run.abandon(reason);
  }

  /** Takes work again. */
  resume(): void {
    this.isClosed = false;
    this.isLeaving = false;
  }
}

/** Returns what a call may wait: its own limit or, inside a handler, what is left of the handler's. May be 0 or less. */
export function remainingMs(ownMs: number, scope: DeadlineScope | undefined): number {
  return scope === undefined ? ownMs : Math.min(ownMs, Math.floor(scope.deadline - performance.now()));
}
