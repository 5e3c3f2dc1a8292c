/** Handlers that are running: each within its limit, all of them abandoned when a shutdown waits no longer. */

import { isHandlerReply, type Middleware, type Reply } from "./context.ts";
import { runWithin, timedOut } from "./deadline.ts";
import type { HandlerContext } from "./handler-context.ts";
import { runThrough } from "./middleware.ts";
import type { Registered } from "./registry.ts";

/** What a run rejects with when its limit passed first. */
export const overdue: unique symbol = Symbol("overdue");
/** What a run rejects with when the shutdown stopped waiting for it. */
export const abandoned: unique symbol = Symbol("abandoned");

const noHeaders = Object.freeze({});

/** The handlers of one service that are running. */
export class HandlerRuns {
  readonly #middleware: readonly Middleware[];
  readonly #active = new Map<HandlerContext, (reason: typeof abandoned) => void>();
  #stopped: { readonly reason: unknown } | undefined;

  constructor(middleware: readonly Middleware[]) {
    this.#middleware = middleware;
  }

  /**
   * Runs a handler inside the middleware. Rejects with what it throws, with {@link overdue} or with {@link abandoned};
   * after the latter two the handler may go on, told by its signal, and nobody listens to it any more.
   */
  run(entry: Registered<unknown>, context: HandlerContext, limitMs: number): Promise<Reply> {
    if (this.#stopped !== undefined) return Promise.reject(abandoned);
    const handler = async (): Promise<Reply> => {
      const result = await entry.handler(context);
      return isHandlerReply(result) ? result : { status: 200, headers: noHeaders, body: result };
    };
    return new Promise((resolve, reject) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#active.delete(context);
      };
      const timer = setTimeout(() => {
        end();
        reject(overdue);
        context.abort(timedOut({ ms: limitMs, what: `the handler of ${context.path}` }));
      }, limitMs);
      this.#active.set(context, (reason) => {
        end();
        reject(reason);
      });
      const work = runWithin(limitMs, () =>
        this.#middleware.length === 0 ? handler() : runThrough(this.#middleware, context, handler),
      );
      work.then(
        (reply) => {
          end();
          resolve(reply);
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
    this.#stopped = { reason };
    for (const [context, stop] of [...this.#active]) {
      stop(abandoned);
      context.abort(reason);
    }
  }

  /** Takes work again after {@link abandon}. */
  resume(): void {
    this.#stopped = undefined;
  }
}
