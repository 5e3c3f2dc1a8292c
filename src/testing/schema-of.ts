/** A Standard Schema (https://standardschema.dev) made of one function, for tests that need no validator of their own. */

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

/** A schema that takes what the function gives a value for, and says that it expected something else otherwise. */
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
