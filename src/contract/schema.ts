/** Runs schemas: any validator that follows Standard Schema (https://standardschema.dev). */

import type { StandardSchemaV1 } from "@standard-schema/spec";
import { describeThrown, invalidArgument, show } from "../errors.ts";

/** Any Standard Schema validator: a schema of zod, valibot, arktype and others. */
export type AnySchema = StandardSchemaV1<unknown, unknown>;

/** The type that the sending side passes to satisfy a schema; `unknown` without a schema. */
export type SchemaInput<Schema> = Schema extends AnySchema ? StandardSchemaV1.InferInput<Schema> : unknown;

/** The type that the receiving side gets out of a schema; `unknown` without a schema. */
export type SchemaOutput<Schema> = Schema extends AnySchema ? StandardSchemaV1.InferOutput<Schema> : unknown;

/** A problem of a value. */
export interface ValidationIssue {
  /** The place of the problem in JavaScript notation, such as `items[0].price`. Empty for the value as a whole. */
  readonly path: string;
  /** The problem, in the words of the schema. */
  readonly message: string;
}

/** The outcome of a validation: the transformed value, or at least one problem. */
export type Validated =
  | { readonly value: unknown; readonly issues?: undefined }
  | { readonly issues: readonly ValidationIssue[] };

/**
 * Runs a schema on a value. Returns a promise only if the schema does. Never throws and never rejects: if the schema throws,
 * the result has one problem, for the whole value.
 *
 * @example
 * const result = validateWith(schema, body);
 * const { issues } = result instanceof Promise ? await result : result;
 */
export function validateWith(schema: AnySchema, value: unknown): Validated | Promise<Validated> {
  try {
    const outcome = schema["~standard"].validate(value);
    return isThenable(outcome)
      ? Promise.resolve(outcome).then(toValidated).catch(schemaThrew)
      : toValidated(outcome);
  } catch (thrown) {
    return schemaThrew(thrown);
  }
}

/** Returns whether a value follows Standard Schema, version 1. The value may be a function, as a schema of arktype is. */
export function isSchema(value: unknown): value is AnySchema {
  if ((typeof value !== "object" && typeof value !== "function") || value === null) return false;
  const standard = (value as Partial<Record<"~standard", unknown>>)["~standard"];
  if (typeof standard !== "object" || standard === null) return false;
  const { version, validate } = standard as Partial<Record<"version" | "validate", unknown>>;
  return version === 1 && typeof validate === "function";
}

/**
 * Checks that an option is a schema or left out. `what` names the option in the message.
 *
 * @throws `INVALID_ARGUMENT` if it is neither.
 */
export function checkSchema(what: string, value: unknown): void {
  if (value === undefined || isSchema(value)) return;
  throw invalidArgument(what, "a Standard Schema validator (of zod, valibot, arktype …)", value);
}

/** Joins problems into one line for an error message. */
export function describeProblems(problems: readonly ValidationIssue[]): string {
  return problems.map(({ path, message }) => (path === "" ? message : `${path}: ${message}`)).join("; ");
}

function isThenable<Value>(value: Value | Promise<Value>): value is Promise<Value> {
  return typeof (value as Partial<Promise<Value>>).then === "function";
}

function toValidated(outcome: StandardSchemaV1.Result<unknown>): Validated {
  if (!outcome.issues) return { value: outcome.value };
  const issues = outcome.issues.map(({ path, message }) => ({
    path: renderPath(path ?? []),
    message: typeof message === "string" ? message : show(message),
  }));
  return {
    issues: issues.length === 0 ? [{ path: "", message: "refused without giving a reason" }] : issues,
  };
}

function schemaThrew(thrown: unknown): Validated {
  const reason = describeThrown(thrown).message;
  return { issues: [{ path: "", message: `the schema threw: ${reason}` }] };
}

function renderPath(path: Iterable<PropertyKey | StandardSchemaV1.PathSegment>): string {
  let rendered = "";
  for (const segment of path) {
    const key = typeof segment === "object" ? segment.key : segment;
    if (typeof key === "string" && identifier.test(key)) rendered += rendered === "" ? key : `.${key}`;
    else rendered += `[${typeof key === "string" ? JSON.stringify(key) : String(key)}]`;
  }
  return rendered;
}

const identifier = /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u;
