/**
 * The empty asynchronous context. The connection, the embedded broker and the application's callbacks run in it. Otherwise each
 * would run in the `AsyncLocalStorage` of the code that happened to connect, send or be served before.
 */

import { AsyncResource } from "node:async_hooks";

const empty = new AsyncResource("confluo", { requireManualDestroy: true });

// A program may import this package lazily, in the middle of a request, and a new resource inherits that request's context.
// Node has no way to create a resource that inherits nothing. It stores the inherited context on the resource: in one property
// for each storage, or in a single property where it has an AsyncContextFrame (the default since Node 24).
for (const key of Object.getOwnPropertySymbols(empty)) {
  if (key.description === "kResourceStore" || key.description === "context_frame")
    Reflect.deleteProperty(empty, key);
}

/**
 * Calls a function of this package, such as one that sets a timer, outside of every `AsyncLocalStorage`. Everything that the
 * function starts runs there, too. Functions of the application are called with {@link runInNewContext}.
 */
export function runOutsideContext<Arguments extends unknown[], Result>(
  callee: (...args: Arguments) => Result,
  ...args: Arguments
): Result {
  return empty.runInAsyncScope(callee, undefined, ...args);
}

/**
 * Makes a resource whose context is empty. `enterWith` changes the context of the resource in which it is called, so
 * application code needs a resource in which nothing else runs.
 */
export function newEmptyResource(type: string): AsyncResource {
  return empty.runInAsyncScope(newResource, undefined, type);
}

function newResource(type: string): AsyncResource {
  return new AsyncResource(type, { requireManualDestroy: true });
}

/** Calls a function of the application, such as a listener, outside of every `AsyncLocalStorage`, in a context of its own. */
export function runInNewContext<Arguments extends unknown[], Result>(
  callee: (...args: Arguments) => Result,
  ...args: Arguments
): Result {
  return newEmptyResource("confluo.callback").runInAsyncScope(callee, undefined, ...args);
}
