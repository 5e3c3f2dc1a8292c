/** Work that is running: each within its limit, all of it abandoned when a shutdown waits no longer. */

import { DeadlineScope, type ExecutionLimits } from "../async/deadline-scope.ts";
import type { MaybePromise } from "../async/maybe-promise.ts";
import { runInNewContext } from "../async/outside-context.ts";
import { SlotSet, type SlotSetItem } from "../async/slot-set.ts";
import { timedOut } from "../async/timed-promise.ts";
import { startTimer, stopTimer, TimeoutEntry } from "../async/timeouts.ts";
import type { HandlerContext } from "./handler-context.ts";

/** Why a run failed whose limit passed first. */
export const overdue: unique symbol = Symbol("overdue");
/** Why a run failed that the shutdown stopped waiting for. */
export const abandoned: unique symbol = Symbol("abandoned");

/** One run, as the work inside sees it. */
export interface Execution {
  /** Whether nobody waits for it any more. */
  readonly stopped: boolean;
  /** Whether it came as far as the handler. */
  readonly entered: boolean;
  /** On the monotonic clock. */
  readonly began: number;
  /** Makes the context known, whose signal tells the handler when nobody waits for it any more. */
  enter(context: HandlerContext): void;
  /** Calls back with the reason if nobody waits for it any more before it ends. */
  onStop(callback: (reason: unknown) => void): void;
}

/** What is run within limits, and what its end comes to. */
export interface Task<Result, End> extends ExecutionLimits {
  /** The `correlation_id` of a call. */
  readonly correlationId?: string | undefined;
  /** The work itself, validation and handler alike. */
  work(execution: Execution): MaybePromise<Result>;
  returned(result: Result): MaybePromise<End>;
  /** It threw, or its limit passed ({@link overdue}), or the shutdown stopped waiting for it ({@link abandoned}). */
  failed(reason: unknown): MaybePromise<End>;
}

class TimedExecution<Result, End> extends TimeoutEntry implements Execution, SlotSetItem {
  slot = -1;
  readonly #task: Task<Result, End>;
  readonly #all: SlotSet<TimedExecution<unknown, unknown>>;
  readonly #scope: DeadlineScope;
  #context: HandlerContext | undefined;
  #stopped: { readonly reason: unknown } | undefined;
  #onStop: ((reason: unknown) => void) | undefined;
  #resolve: ((end: MaybePromise<End>) => void) | undefined;

  constructor(
    task: Task<Result, End>,
    runner: HandlerRunner,
    all: SlotSet<TimedExecution<unknown, unknown>>,
  ) {
    super();
    this.#task = task;
    this.#all = all;
    this.#scope = new DeadlineScope(task, runner);
  }

  get stopped(): boolean {
    return this.#stopped !== undefined;
  }

  get began(): number {
    return this.#scope.began;
  }

  get entered(): boolean {
    return this.#context !== undefined;
  }

  enter(context: HandlerContext): void {
    this.#context = context;
    if (this.#stopped !== undefined) context.abort(this.#stopped.reason);
  }

  get correlationId(): string | undefined {
    return this.#task.correlationId;
  }

  /** It counts as waiting until it ends. */
  letGo(): void {
    this.#scope.asks();
  }

  onStop(callback: (reason: unknown) => void): void {
    this.#onStop = callback;
  }

  run(): MaybePromise<End> {
    const task = this.#task;
    let result: MaybePromise<Result>;
    try {
      result = this.#scope.run(task, this);
    } catch (error) {
      this.#scope.end();
      return task.failed(error);
    }
    if (result instanceof Promise) return this.#watch(result);
    this.#scope.end();
    return task.returned(result);
  }

  // Only what is not over at once needs a limit, and can be abandoned.
  #watch(coming: Promise<Result>): Promise<End> {
    const task = this.#task;
    startTimer(this, task.ms);
    this.#all.add(this as TimedExecution<unknown, unknown>);
    return new Promise((resolve) => {
      this.#resolve = resolve;
      coming.then(
        (result) => {
          this.#scope.end();
          if (this.#end()) resolve(task.returned(result));
        },
        (error: unknown) => {
          this.#scope.end();
          if (this.#end()) resolve(task.failed(error));
        },
      );
    });
  }

  override pass(): void {
    this.#stop(overdue, timedOut(this.#task));
  }

  abandon(reason: unknown): void {
    this.#stop(abandoned, reason);
  }

  // What still runs is told by its signal.
  #stop(why: typeof overdue | typeof abandoned, reason: unknown): void {
    if (!this.#end()) return;
    this.#stopped = { reason };
    this.#scope.leave();
    this.#resolve?.(this.#task.failed(why));
    runInNewContext(() => {
      this.#onStop?.(reason);
      this.#context?.abort(reason);
    });
  }

  /** @returns whether anyone still waited for it. */
  #end(): boolean {
    stopTimer(this);
    return this.#all.delete(this as TimedExecution<unknown, unknown>);
  }
}

/** What one service is running. */
export class HandlerRunner {
  readonly #running = new SlotSet<TimedExecution<unknown, unknown>>();
  #closed = false;
  /** Whether what runs belongs to a service that is being shut down. */
  isLeaving = false;

  /**
   * Runs a task within its limit, and returns what its end comes to. After {@link overdue} and {@link abandoned} its work may go
   * on, told by its signal, and nobody listens to it any more.
   */
  run<Result, End>(task: Task<Result, End>): MaybePromise<End> {
    if (this.#closed) return task.failed(abandoned);
    return new TimedExecution(task, this, this.#running).run();
  }

  /** Whether a call runs. */
  has(correlationId: string): boolean {
    return this.#running.find((running) => running.correlationId === correlationId) !== undefined;
  }

  /** Has a call, if it runs, go on without a place. */
  letGo(correlationId: string): void {
    this.#running.find((running) => running.correlationId === correlationId)?.letGo();
  }

  /** Stops waiting for what runs, and fires its signals with the reason. */
  abandon(reason: unknown): void {
    this.#closed = true;
    for (const running of this.#running.list()) running.abandon(reason);
  }

  /** Takes work again after {@link abandon}. */
  resume(): void {
    this.#closed = false;
    this.isLeaving = false;
  }
}
