/** Finds schemas that require values JSON cannot carry. Only schemas of zod 4 can be inspected; others pass. */

import { ConfluoError } from "../errors.ts";
import type { AnySchema } from "./schema.ts";

/** The definition that zod stores in a schema, with the schemas inside it. */
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

// Date is not listed: it has a form in JSON, so the check of each outgoing body reports a mistake at its exact place.
const uncarried: ReadonlyMap<string, string> = new Map([
  ["bigint", "a bigint: take text, as z.coerce.bigint() does"],
  ["map", "a Map: take an object, such as z.record(…), or a list of pairs"],
  ["set", "a Set: take a list, such as z.array(…)"],
  ["symbol", "a symbol: take text"],
]);

// Schemas inside these kinds are not inspected: they accept another value instead, or may not need any value.
const excusing: ReadonlySet<string> = new Set(["union", "default", "prefault", "catch", "transform", "lazy"]);

/**
 * Checks that a schema requires nothing that JSON cannot carry. `what` names the schema in the message.
 *
 * @throws `INVALID_ARGUMENT` for a schema that accepts only a bigint, Map, Set or symbol.
 */
export function checkCarried(what: string, schema: AnySchema | undefined): void {
  if (schema === undefined) return;
  let found: FoundCarriage | undefined;
  try {
    found = uncarriedIn(schema, "", new Set());
  } catch {
    return; // the schema refers to something that is not defined yet, or is of an unknown version
  }
  if (found === undefined) return;
  const where = found.place === "" ? "it takes" : `${found.place} takes`;
  throw new ConfluoError(
    "INVALID_ARGUMENT",
    `${what} must accept values that JSON can carry, but ${where} ${found.taken}.`,
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

/** Returns the schemas that receive a part of a schema's input, each with the part's place. */
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
