/** Converts schemas to JSON Schema, if their library supports Standard JSON Schema. */

import type { StandardJSONSchemaV1 } from "@standard-schema/spec";
import type { AnySchema } from "./schema.ts";

/**
 * Returns a schema as JSON Schema (https://standardschema.dev/json-schema); `undefined` if its library does not support that,
 * or if JSON Schema cannot express it.
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
 * Returns whether the input and output of a schema are the same, apart from undeclared fields. If so, the value that the schema
 * returned satisfies the schema, too. Returns `undefined` if the schema's library does not support JSON Schema.
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
    // A library adds `additionalProperties: false` to the output only, because it has no undeclared fields.
    return JSON.stringify(described, (key, value: unknown) =>
      key === "additionalProperties" && value === false ? undefined : value,
    );
  } catch {
    return undefined; // the library's own JSON Schema, which refers to itself
  }
}
