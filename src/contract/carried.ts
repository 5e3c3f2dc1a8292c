/** Schemas that take what JSON cannot carry, as far as a look at them tells: those of zod 4 can be looked into. */

import { ConfluoError } from "../errors.ts";
import type { AnySchema } from "./schema.ts";

/** The part of a schema that zod keeps, and of the schemas in it. */
interface Definition {
  readonly type: string;
  readonly coerce?: boolean;
  readonly shape?: Readonly<Record<string, unknown>>;
  readonly element?: unknown;
  readonly items?: readonly unknown[];
  readonly rest?: unknown;
  readonly valueType?: unknown;
  readonly left?: unknown;
  readonly right?: unknown;
  readonly innerType?: unknown;
  readonly in?: unknown;
}

// Not Date: it has a form in JSON, so the check of what is sent says what is wrong with it, at its place.
const uncarried: ReadonlyMap<string, string> = new Map([
  ["bigint", "a bigint: take text, as z.coerce.bigint() does"],
  ["map", "a Map: take an object, such as z.record(…), or a list of pairs"],
  ["set", "a Set: take a list, such as z.array(…)"],
  ["symbol", "a symbol: take text"],
]);

// The schemas inside of these need not travel: there is something else to take, or nothing at all.
const excusing: ReadonlySet<string> = new Set(["union", "default", "prefault", "catch", "transform", "lazy"]);

/**
 * Checks that a schema takes nothing that JSON cannot carry. `what` names it in the message.
 *
 * @throws `INVALID_ARGUMENT` for one that wants a bigint, Map, Set or symbol and makes it of nothing else.
 */
export function checkCarried(what: string, schema: AnySchema | undefined): void {
  if (schema === undefined) return;
  let found: FoundCarriage | undefined;
  try {
    found = uncarriedIn(schema, "", new Set());
  } catch {
    return; // it refers to what is not there yet, or is of a version that is not known
  }
  if (found === undefined) return;
  const where = found.place === "" ? "it takes" : `${found.place} takes`;
  throw new ConfluoError(
    "INVALID_ARGUMENT",
    `${what} must be of what JSON can carry, and ${where} ${found.taken}.`,
  );
}

interface FoundCarriage {
  readonly place: string;
  readonly taken: string;
}

function uncarriedIn(schema: unknown, place: string, seen: Set<unknown>): FoundCarriage | undefined {
  const definition = definitionOf(schema);
  if (definition === undefined || seen.has(schema)) return undefined;
  seen.add(schema);
  const { type, coerce } = definition;
  if (excusing.has(type)) return undefined;
  const taken = coerce === true ? undefined : uncarried.get(type);
  if (taken !== undefined) return { place, taken };
  for (const [inner, suffix] of within(definition)) {
    const found = uncarriedIn(
      inner,
      suffix.startsWith(".") && place === "" ? suffix.slice(1) : place + suffix,
      seen,
    );
    if (found !== undefined) return found;
  }
  return undefined;
}

function definitionOf(schema: unknown): Definition | undefined {
  return (schema as { readonly _zod?: { readonly def?: Definition } } | undefined)?._zod?.def;
}

/** The schemas that a schema's own input goes to, each with its place. */
function within(definition: Definition): readonly (readonly [schema: unknown, suffix: string])[] {
  const { shape = {}, element, items = [], rest, valueType, left, right, innerType, in: input } = definition;
  return [
    ...Object.keys(shape).map((key) => [shape[key], `.${key}`] as const),
    ...items.map((item, index) => [item, `[${index}]`] as const),
    [element, "[]"],
    [rest, "[]"],
    [valueType, ".*"],
    ...[left, right, innerType, input].map((inner) => [inner, ""] as const),
  ];
}
