/**
 * A value that may be available at once, or a promise of it. Most handlers, brokers and schemas return at once, and creating a
 * promise for each would be expensive.
 */

/** A value, or the promise of one. */
export type MaybePromise<Value> = Value | Promise<Value>;

/** Calls a function with a value: at once if it is available, later if it is a promise. */
export function andThen<Value, Result>(
  value: MaybePromise<Value>,
  next: (value: Value) => MaybePromise<Result>,
): MaybePromise<Result> {
  return value instanceof Promise ? value.then(next) : next(value);
}
