/** Schemas as JSON Schema, where their library can tell by Standard JSON Schema. */

import type { StandardJSONSchemaV1 } from "@standard-schema/spec";
import type { AnySchema } from "./schema.ts";

/**
 * A schema as JSON Schema (https://standardschema.dev/json-schema); `undefined` where its library has none, or where JSON
 * Schema cannot say it.
 */
export function jsonSchemaOf(
  schema: AnySchema,
  side: "input" | "output",
): Readonly<Record<string, unknown>> | undefined {
  const { jsonSchema } = schema["~standard"] as Partial<StandardJSONSchemaV1.Props>;
  try {
    return jsonSchema?.[side]({ target: "draft-2020-12" });
  } catch {
    return undefined;
  }
}

/**
 * Returns whether both sides of a schema are the same, but for fields that it does not declare: then what it returned satisfies it,
 * too. `undefined` where its library cannot tell.
 */
export function sidesAgree(schema: AnySchema): boolean | undefined {
  if (!agreeing.has(schema)) agreeing.set(schema, compareSides(schema));
  return agreeing.get(schema);
}

const agreeing = new WeakMap<AnySchema, boolean | undefined>();

function compareSides(schema: AnySchema): boolean | undefined {
  const input = sideOf(schema, "input");
  const output = sideOf(schema, "output");
  return input === undefined && output === undefined ? undefined : input === output;
}

function sideOf(schema: AnySchema, side: "input" | "output"): string | undefined {
  const described = jsonSchemaOf(schema, side);
  if (described === undefined) return undefined;
  try {
    // The side that comes out has no fields but those that are declared, and says so.
    return JSON.stringify(described, (key, value: unknown) =>
      key === "additionalProperties" && value === false ? undefined : value,
    );
  } catch {
    return undefined; // a converter's own, which refers to itself
  }
}
