/** Makes a Standard Schema (https://standardschema.dev) from one function, for tests without a validation library. */

interface FunctionSchema<Input, Output> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: "confluo";
    readonly types?: { readonly input: Input; readonly output: Output };
    readonly validate: (
      value: unknown,
    ) =>
      | { readonly value: Output; readonly issues?: undefined }
      | { readonly issues: readonly { readonly message: string }[] };
  };
}

/**
 * Returns a schema that accepts the values for which the function returns a result. For others, it reports what was expected.
 */
export function schemaOf<Input, Output>(
  expected: string,
  parse: (value: unknown) => { readonly value: Output } | undefined,
): FunctionSchema<Input, Output> {
  return {
    "~standard": {
      version: 1,
      vendor: "confluo",
      validate: (value) => parse(value) ?? { issues: [{ message: `expected ${expected}` }] },
    },
  };
}
