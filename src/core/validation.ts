/** Values against schemas, with errors of ours. */

import { type AnySchema, describeProblems, validateWith } from "../contract/schema.ts";
import { ConfluoError } from "../errors.ts";

/**
 * The value as the schema transforms it.
 *
 * @throws the code, with the problems in its data.
 */
export async function validated(
  schema: AnySchema,
  value: unknown,
  code: "INVALID_INPUT" | "INVALID_OUTPUT",
  what: string,
): Promise<unknown> {
  const result = await validateWith(schema, value);
  if (result.issues === undefined) return result.value;
  throw new ConfluoError(code, `${what} is not valid: ${describeProblems(result.issues)}.`, {
    data: { problems: result.issues },
  });
}
