/** Values against schemas, with errors of ours. */

import { andThen, type MaybePromise } from "../async/maybe-promise.ts";
import { type AnySchema, describeProblems, type ValidationIssue, validateWith } from "../contract/schema.ts";
import { ConfluoError } from "../errors.ts";

/** The code of the error if a value is not valid, and what the value is. */
export interface Checked {
  readonly code: "INVALID_INPUT" | "INVALID_OUTPUT";
  readonly what: string;
}

/**
 * Returns the value as the schema transforms it: a promise of it only where the schema takes its time.
 *
 * @throws the code, with the problems in its data; rejects with it where the schema takes its time.
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

/** The error of a value that is not valid; `more` follows the problems. */
export function invalid(
  { code, what }: Checked,
  issues: readonly ValidationIssue[],
  more = "",
): ConfluoError {
  return new ConfluoError(code, `${what} is not valid: ${describeProblems(issues)}.${more}`, {
    data: { problems: issues },
  });
}
