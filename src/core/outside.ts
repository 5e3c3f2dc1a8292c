/** What many share must not run as if one of them had asked for it. */

import { AsyncResource } from "node:async_hooks";

const root = new AsyncResource("confluo");

/**
 * Calls a function such as `setTimeout` so that what it calls back later runs outside of every `AsyncLocalStorage`: inside
 * that of whoever came first, it would be handed on to all others.
 */
export function outside<Arguments extends unknown[], Result>(
  callee: (...args: Arguments) => Result,
  ...args: Arguments
): Result {
  return root.runInAsyncScope(callee, undefined, ...args);
}
