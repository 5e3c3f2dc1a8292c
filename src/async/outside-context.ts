/**
 * The empty asynchronous context. The connection, the turns of the embedded broker and the callbacks of an application run in it:
 * otherwise each would run in the `AsyncLocalStorage` of whoever connected, sent or was served before.
 */

import { AsyncResource } from "node:async_hooks";

const empty = new AsyncResource("confluo", { requireManualDestroy: true });

// A program may import this package lazily, in the middle of a request, whose context a new resource inherits. Node has no way
// to make a resource that inherits nothing, and keeps what is inherited on the resource itself: in a property for each storage,
// or in a single property where it has an AsyncContextFrame (the default since Node 24).
for (const key of Object.getOwnPropertySymbols(empty)) {
  if (key.description === "kResourceStore" || key.description === "context_frame")
    Reflect.deleteProperty(empty, key);
}

/**
 * Calls a function of this package, such as one that sets a timer, outside of every `AsyncLocalStorage`. What it begins goes on
 * there. The application's functions are called by {@link runInNewContext}.
 */
export function runOutsideContext<Arguments extends unknown[], Result>(
  callee: (...args: Arguments) => Result,
  ...args: Arguments
): Result {
  return empty.runInAsyncScope(callee, undefined, ...args);
}

/**
 * Makes a resource whose context is empty. `enterWith` changes the context of the resource that it is called in: application code
 * needs one that nothing else runs in.
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
