/** What may be here already: most handlers, brokers and schemas answer at once, and a promise for each would be dear. */

/** A value, or the promise of one. */
export type MaybePromise<Value> = Value | Promise<Value>;

/** Whether it is still to come. */
export function isPromise<Value>(value: MaybePromise<Value>): value is Promise<Value> {
  return value instanceof Promise;
}

/** What a function of someone else returned, be it a promise of another realm or library. */
export function toMaybePromise(result: unknown): MaybePromise<unknown> {
  if (typeof result !== "object" || result === null || result instanceof Promise) return result;
  return typeof (result as { then?: unknown }).then === "function" ? Promise.resolve(result) : result;
}
