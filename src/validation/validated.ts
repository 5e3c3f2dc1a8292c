/** Validates values with schemas, and makes the errors. */

import { andThen, type MaybePromise } from "../async/maybe-promise.ts";
import { type AnySchema, describeProblems, type ValidationIssue, validateWith } from "../contract/schema.ts";
import { ConfluoError } from "../errors.ts";

/** The error code for an invalid value, and a description of the value. */
export interface Checked {
  readonly code: "INVALID_INPUT" | "INVALID_OUTPUT";
  readonly what: string;
}

/**
 * Returns the value as the schema transforms it, or a promise of it if the schema is asynchronous.
 *
 * @throws an error with the given code, with the problems in its data; rejects with it if the schema is asynchronous.
 */
export function validated(
  schema: AnySchema,
  value: unknown,
  code: Checked["code"],
  what: string,
): MaybePromise<unknown> {
  return andThen(validateWith(schema, value), (result) => {
    if (result.issues === undefined) return result.value;
    throw invalid({ code, what }, result.issues);
  });
}

/** Makes the error for an invalid value. `more` is appended to the problems. */
export function invalid(
  { code, what }: Checked,
  issues: readonly ValidationIssue[],
  more = "",
): ConfluoError {
  return new ConfluoError(code, `${what} is not valid: ${describeProblems(issues)}.${more}`, {
    data: { problems: issues },
  });
}
