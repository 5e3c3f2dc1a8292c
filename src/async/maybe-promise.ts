/** A value that may be here already, or a promise of it: most handlers, brokers and schemas answer at once, and a promise for each would be dear. */

/** A value, or the promise of one. */
export type MaybePromise<Value> = Value | Promise<Value>;

/** Goes on with a value: at once if it is here, later if it is promised. */
export function andThen<Value, Result>(
  value: MaybePromise<Value>,
  next: (value: Value) => MaybePromise<Result>,
): MaybePromise<Result> {
  return value instanceof Promise ? value.then(next) : next(value);
}
