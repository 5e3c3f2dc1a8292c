/** Work that is running: each within its limit, all of it abandoned when a shutdown waits no longer. */

import { type RunLimits, runWithin, timedOut } from "./deadline.ts";
import type { HandlerContext } from "./handler-context.ts";

/** What a run rejects with when its limit passed first. */
export const overdue: unique symbol = Symbol("overdue");
/** What a run rejects with when the shutdown stopped waiting for it. */
export const abandoned: unique symbol = Symbol("abandoned");

/** One run, as the work inside sees it. */
export class Run {
  #context: HandlerContext | undefined;
  #stopped: { readonly reason: unknown } | undefined;

  /** Whether nobody waits for it any more. */
  get stopped(): boolean {
    return this.#stopped !== undefined;
  }

  /** Whether it came as far as the handler. */
  get entered(): boolean {
    return this.#context !== undefined;
  }

  /** Makes the context known, whose signal tells the handler when nobody waits for it any more. */
  enter(context: HandlerContext): void {
    this.#context = context;
    if (this.#stopped !== undefined) context.abort(this.#stopped.reason);
  }

  /** Fires the context's signal. */
  stop(reason: unknown): void {
    this.#stopped = { reason };
    this.#context?.abort(reason);
  }
}

/** What one service is running. */
export class HandlerRuns {
  readonly #abandon = new Set<(reason: unknown) => void>();
  #closed = false;

  /**
   * Runs work, validation and handler alike, within a limit. Rejects with what it throws, with {@link overdue} or with
   * {@link abandoned}; after the latter two it may go on, told by its signal, and nobody listens to it any more.
   */
  run<Result>(limits: RunLimits, work: (run: Run) => Promise<Result>): Promise<Result> {
    if (this.#closed) return Promise.reject(abandoned);
    return new Promise((resolve, reject) => {
      const run = new Run();
      const end = (): void => {
        clearTimeout(timer);
        this.#abandon.delete(abandon);
      };
      const stop = (why: typeof overdue | typeof abandoned, reason: unknown): void => {
        end();
        reject(why);
        run.stop(reason);
      };
      const abandon = (reason: unknown): void => stop(abandoned, reason);
      const timer = setTimeout(() => stop(overdue, timedOut(limits)), limits.ms);
      this.#abandon.add(abandon);
      runWithin(limits, () => work(run)).then(
        (result) => {
          end();
          resolve(result);
        },
        (error: unknown) => {
          end();
          reject(error);
        },
      );
    });
  }

  /** Stops waiting for what runs, and fires its signals with the reason. */
  abandon(reason: unknown): void {
    this.#closed = true;
    for (const abandon of [...this.#abandon]) abandon(reason);
  }

  /** Takes work again after {@link abandon}. */
  resume(): void {
    this.#closed = false;
  }
}
