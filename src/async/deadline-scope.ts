/** Until when a handler may run, known to everything that it calls. */

import { AsyncLocalStorage } from "node:async_hooks";
import { newEmptyResource } from "./outside-context.ts";

/** What runs, and how long it may. */
export interface ExecutionLimits {
  readonly ms: number;
  /** In words that follow 'while waiting for'. */
  readonly what: string;
  /** Is told when it begins to wait for answers to calls, and when it goes on; `undefined` if that makes no difference. */
  readonly waits: ((isWaiting: boolean) => void) | undefined;
}

/** What everything knows that a handler calls: until when it may run. */
export class DeadlineScope {
  /** On the monotonic clock. */
  readonly began: number = performance.now();
  readonly deadline: number;
  #waits: ExecutionLimits["waits"];
  /** Calls that it has made and that are not answered. */
  #calls = 0;
  #ended = false;
  readonly #of: { readonly isLeaving: boolean };

  /** @param of whether the service that it runs in is being shut down. */
  constructor({ ms, waits }: ExecutionLimits, of: { readonly isLeaving: boolean }) {
    this.#of = of;
    this.deadline = this.began + ms;
    this.#waits = waits;
  }

  /** The scope that this is running in, if it is. What a handler left running when it ended is nobody's handler any more. */
  static get current(): DeadlineScope | undefined {
    const scope = scopes.getStore();
    return scope === undefined || scope.#ended ? undefined : scope;
  }

  run<Argument, Result>(task: { work(argument: Argument): Result }, argument: Argument): Result {
    // Empty, since a handler may be begun where another has ended, or by the handler that calls it; and of its own: what it
    // enters by `enterWith` of its own storage is not for those that run after it in the same callback.
    return newEmptyResource("confluo.handler").runInAsyncScope(begin<Argument, Result>, this, task, argument);
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

const scopes = new AsyncLocalStorage<DeadlineScope>();

function begin<Argument, Result>(
  this: DeadlineScope,
  task: { work(argument: Argument): Result },
  argument: Argument,
): Result {
  scopes.enterWith(this); // the resource is this run's own: there is nothing to go back to
  return task.work(argument);
}

/** What a call may wait: its own limit or, inside a handler, what is left of the handler's. May be 0 or less. */
export function remainingMs(ownMs: number, scope: DeadlineScope | undefined): number {
  return scope === undefined ? ownMs : Math.min(ownMs, Math.floor(scope.deadline - performance.now()));
}
