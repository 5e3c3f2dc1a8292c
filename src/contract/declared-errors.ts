/** Declared errors: the errors that a contract lists, typed both for the handler that throws them and for the caller. */

import {
  type ConfluoError,
  invalidArgument,
  isConfluoError,
  isOwnCode,
  type OwnCode,
  RemoteError,
  ServiceError,
} from "../errors.ts";
import { fitsPath } from "./path.ts";
import {
  type AnySchema,
  checkSchema,
  isSchema,
  type SchemaInput,
  type SchemaOutput,
  validateWith,
} from "./schema.ts";

/** A declared error with a status of its own. */
export interface ErrorDeclaration {
  /** 400 to 599. Default: 422, which means that the request was understood and refused. */
  readonly status?: number | undefined;
  /** Schema of the error's data. Default: none; then the type of the data is `unknown`. */
  readonly data?: AnySchema | undefined;
}

/** Declared errors by code. Each is the schema of the error's data, or an object with a status, a schema or both. */
export type DeclaredErrors = Readonly<Record<string, AnySchema | ErrorDeclaration>>;

/** No declared errors. */
export type NoErrors = { readonly [Code in never]: never };

/**
 * A constraint on the type of declared errors: each must be a schema or a declaration, without unknown fields and without a
 * code that belongs to confluo. The compile error says which rule is broken.
 */
export type CheckedErrors<Errors> = {
  readonly [Code in keyof Errors]: Code extends OwnCode
    ? `${Code} is a code of confluo's own: choose another`
    : Errors[Code] extends AnySchema
      ? unknown
      : Errors[Code] extends ErrorDeclaration
        ? UnknownFields<Exclude<keyof Errors[Code] & string, keyof ErrorDeclaration>>
        : AnySchema | ErrorDeclaration;
};

type UnknownFields<Names extends string> = {
  readonly [Name in Names]: `a declared error has no ${Name}, only status and data`;
};

type DataSchema<Declared> = Declared extends AnySchema
  ? Declared
  : Declared extends { readonly data: infer Schema }
    ? Schema
    : undefined;

/** The arguments of a new declared error: code, data (optional if its type allows `undefined`), message. */
export type ErrorArguments<Errors, Code extends keyof Errors> =
  undefined extends SchemaInput<DataSchema<Errors[Code]>>
    ? [data?: SchemaInput<DataSchema<Errors[Code]>>, message?: string]
    : [data: SchemaInput<DataSchema<Errors[Code]>>, message?: string];

/** A declared error as the caller catches it: `code` identifies it, and its schema types `data`. */
export interface DeclaredError<Code extends string, Data> extends ConfluoError<Code> {
  readonly data: Data;
}

/** The declared errors of a contract, as a union that `switch (error.code)` narrows. */
export type DeclaredErrorOf<Errors> = {
  readonly [Code in keyof Errors & string]: DeclaredError<Code, SchemaOutput<DataSchema<Errors[Code]>>>;
}[keyof Errors & string];

/** The methods of a contract for its declared errors. */
export interface ErrorMethods<Errors> {
  readonly errors: Errors;

  /**
   * Makes a declared error for a handler to throw. The data is validated later: when the error is answered, where undeclared
   * fields are removed, and again at the caller. `message` defaults to a text that names the code and the contract.
   *
   * @example throw charge.error("CARD_DECLINED", { reason: "expired" });
   * @throws `INVALID_ARGUMENT` for a code that the contract does not declare.
   */
  error<Code extends keyof Errors & string>(
    code: Code,
    ...rest: ErrorArguments<Errors, Code>
  ): ServiceError<Code>;

  /**
   * Returns whether an error is one that this contract declares. The answer to a call must come from the contract's service and
   * from a path that fits the contract, and its data must satisfy the schema, which has already transformed it. If the call was
   * made without a contract, the data is as received. An error that was not answered yet, such as one made by {@link error}, is
   * recognised by its code alone, and its data is unchanged.
   *
   * @example if (charge.isError(error)) switch (error.code) { case "CARD_DECLINED": show(error.data.reason); }
   */
  // Not written as DeclaredErrorOf<Errors>, because then the type declarations of a package that uses it would name the
  // schemas.
  isError(error: unknown): error is {
    readonly [Code in keyof Errors & string]: DeclaredError<Code, SchemaOutput<DataSchema<Errors[Code]>>>;
  }[keyof Errors & string];
}

/** Makes a contract's methods for its declared errors. `of` names the contract's service and path. */
export function errorMethods<Errors extends DeclaredErrors>(
  errors: Errors,
  of: Answerer,
): ErrorMethods<Errors> {
  const origin = `${of.path} of ${of.service}`;
  return {
    errors,
    error: (code, ...[data, given]) => {
      const declared = typeof code === "string" && Object.hasOwn(errors, code) ? errors[code] : undefined;
      if (declared === undefined) {
        throw invalidArgument("the code of a declared error", `one that ${origin} declares`, code);
      }
      const message = given ?? `${origin} refused with ${code}`;
      return new ServiceError(message, { code, data, status: statusOf(declared) });
    },
    isError: (error): error is DeclaredErrorOf<Errors> =>
      isConfluoError(error) &&
      Object.hasOwn(errors, error.code) &&
      !isDisowned(error) &&
      mayBeFrom(error, of),
  };
}

/** The service and path that declare the errors. */
export interface Answerer {
  readonly service: string;
  /** The contract's path, with its `:name` segments. */
  readonly path: string;
}

// The origin is known only for an error that was answered; an error that was just made may be from any service.
function mayBeFrom(error: object, of: Answerer): boolean {
  const { service, path } = error as Partial<RemoteError>;
  if (typeof service !== "string" || typeof path !== "string") return true;
  return service === of.service && fitsPath(of.path, path);
}

// A registered symbol, because the contract may be from another copy of the package than the calling service.
const disowned: unique symbol = Symbol.for("confluo.error.undeclared") as never;

function isDisowned(error: object): boolean {
  return (error as { readonly [disowned]?: unknown })[disowned] === true;
}

/**
 * Returns the error of a reply with its data transformed by the schema that the contract declares for its code. Never throws.
 * Without such a schema, it returns the error as received. If the data does not satisfy the schema, it also returns the error
 * as received, but marks it so that no contract's `isError` accepts it.
 */
export async function declaredError(
  contract: { readonly errors?: DeclaredErrors | undefined },
  received: RemoteError,
): Promise<RemoteError> {
  const { code, message, data } = received;
  const schema = dataSchemaOf(contract, code);
  if (schema === undefined) return received;
  const result = await validateWith(schema, data);
  if (result.issues) return Object.defineProperty(received, disowned, { value: true });
  if (result.value === data) return received;
  const { service, path, status } = received;
  return new RemoteError(code, message, { service, path, status, data: result.value });
}

/** Returns the schema that a contract declares for the data of an error; `undefined` if there is none. */
export function dataSchemaOf(
  { errors }: { readonly errors?: DeclaredErrors | undefined },
  code: string,
): AnySchema | undefined {
  const declared = errors !== undefined && Object.hasOwn(errors, code) ? errors[code] : undefined;
  return isSchema(declared) ? declared : declared?.data;
}

/**
 * Checks the declared errors of a contract.
 *
 * @throws `INVALID_ARGUMENT` for a code that belongs to confluo, an empty code, or a declaration that is neither a schema nor
 *   `{ status, data }`.
 */
export function checkErrors(errors: unknown): void {
  if (typeof errors !== "object" || errors === null) {
    throw invalidArgument("the declared errors of a command", "an object of codes", errors);
  }
  for (const [code, declared] of Object.entries(errors)) {
    if (code === "" || isOwnCode(code)) {
      throw invalidArgument("the code of a declared error", "a code of your own, none of confluo's", code);
    }
    if (!isSchema(declared)) checkDeclaration(code, declared);
  }
}

function checkDeclaration(code: string, declared: unknown): void {
  if (typeof declared !== "object" || declared === null || "~standard" in declared) {
    throw invalidArgument(`the declared error ${code}`, "a Standard Schema or { status, data }", declared);
  }
  const { status, data, ...others } = declared as ErrorDeclaration;
  const unknown = Object.keys(others)[0];
  if (unknown !== undefined) {
    throw invalidArgument(`a field of the declared error ${code}`, "status or data", unknown);
  }
  if (status !== undefined && (!Number.isInteger(status) || status < 400 || status > 599)) {
    throw invalidArgument(
      `the status of the declared error ${code}`,
      "a whole number from 400 to 599",
      status,
    );
  }
  checkSchema(`the data of the declared error ${code}`, data);
}

function statusOf(declared: AnySchema | ErrorDeclaration): number {
  return (isSchema(declared) ? undefined : declared.status) ?? 422;
}
