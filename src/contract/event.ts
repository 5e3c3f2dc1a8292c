/** The contract of an event: the body of the events on one path. */

import { invalidArgument } from "../errors.ts";
import { checkCarried } from "./carried.ts";
import { bindPath, checkPath, type PathValues } from "./path.ts";
import { type AnySchema, checkSchema } from "./schema.ts";

/** Any contract of an event, as plain data. The verbs accept it from this copy of the package or another. */
export interface AnyEvent {
  readonly kind: "event";
  /** A concrete path, or one with `:name` segments. */
  readonly path: string;
  /** The path with its `:name` segments, if `path` was made by `.at()`. */
  readonly pattern?: string | undefined;
  readonly body?: AnySchema | undefined;
}

/** The schema of an event's body. */
export interface EventDefinition<Body> {
  /** Schema of the body: the publisher passes its input type, handlers get its output type. Default: `unknown`. */
  readonly body?: Body | undefined;
}

/** An event whose path was made concrete by `.at()`. */
export interface BoundEvent<Pattern extends string, Body> {
  readonly kind: "event";
  readonly path: string;
  readonly pattern: Pattern;
  readonly body: Body;
}

/** An event as {@link event} declares it. The object is frozen. */
export interface EventContract<Path extends string, Body = undefined> {
  readonly kind: "event";
  readonly path: Path;
  readonly body: Body;
  /**
   * Returns the same event with values for the parameters of its path.
   *
   * @example await service.publish(orderPlaced.at({ id: 7 }), { total: 12 });
   * @throws `INVALID_ARGUMENT` for a value that is missing, unknown, empty, neither a string nor a finite number, or that
   *   contains `/` or `?`.
   */
  at(values: PathValues<Path>): BoundEvent<Path, Body>;
}

/**
 * Declares an event: a plain value that `publish` and `subscribe` accept in place of a path, and that gives both sides their
 * types. A message carries the input type of the schema, without undeclared fields where confluo can detect them; subscribers
 * transform the value.
 *
 * @example
 * export const orderPlaced = event("/orders/:id/placed", { body: z.object({ total: z.number() }) });
 * shipping.subscribe(orderPlaced, ({ params, body }) => ship(params.id, body.total));
 * await shop.publish(orderPlaced.at({ id: 7 }), { total: 12 });
 * @throws `INVALID_ARGUMENT` for an empty path, a `?` in it, a parameter that is not a valid `:name` or occurs twice, the
 *   wildcards `*` and `#`, a schema that does not follow Standard Schema, or one that requires what JSON cannot carry (a
 *   bigint, Map, Set or symbol, as far as its library shows it).
 */
export function event<const Path extends string, Body extends AnySchema | undefined = undefined>(
  path: Path,
  definition: EventDefinition<Body> = {},
): EventContract<Path, Body> {
  if (typeof definition !== "object" || definition === null)
    throw invalidArgument("the definition of an event", "{ body }", definition);
  const shared = { kind: "event", body: definition.body as Body } as const;
  checkEvent({ ...shared, path });
  checkCarried(`the body of ${path}`, definition.body);
  return Object.freeze({
    ...shared,
    path,
    at: (values: PathValues<Path>) =>
      Object.freeze({ ...shared, path: bindPath(path, values), pattern: path }),
  });
}

/**
 * Checks that a value is the contract of an event. Plain data is accepted, too.
 *
 * @throws `INVALID_ARGUMENT` for a contract that {@link event} would refuse, and for any other value.
 */
export function checkEvent(value: unknown): asserts value is AnyEvent {
  if (typeof value !== "object" || value === null || (value as Partial<AnyEvent>).kind !== "event") {
    throw invalidArgument("an event", "a contract made by event(), or its data", value);
  }
  const { path, pattern, body } = value as Partial<AnyEvent>;
  checkPath(path, pattern);
  if (/[*#]/.test(pattern ?? path)) {
    throw invalidArgument(
      "the path of an event contract",
      "a path without wildcards (name a `:parameter`)",
      path,
    );
  }
  checkSchema(`the body of ${path}`, body);
}
