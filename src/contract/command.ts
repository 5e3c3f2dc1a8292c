/** The contract of a command: the input, output and errors of one path of one service. */

import { invalidArgument } from "../errors.ts";
import { checkCarried } from "./carried.ts";
import {
  type CheckedErrors,
  checkErrors,
  type DeclaredErrors,
  dataSchemaOf,
  type ErrorMethods,
  errorMethods,
  type NoErrors,
} from "./declared-errors.ts";
import { bindPath, checkPath, type PathValues } from "./path.ts";
import { type AnySchema, checkSchema } from "./schema.ts";

/** Any contract of a command, as plain data. The verbs accept it from this copy of the package or another. */
export interface AnyCommand {
  readonly kind: "command";
  /** The service that handles the command. */
  readonly service: string;
  /** A concrete path, or one with `:name` segments. */
  readonly path: string;
  /** The path with its `:name` segments, if `path` was made by `.at()`. */
  readonly pattern?: string | undefined;
  readonly input?: AnySchema | undefined;
  readonly output?: AnySchema | undefined;
  readonly errors?: DeclaredErrors | undefined;
}

/** The schemas of a command's input, output and errors. A part that is left out is not validated, and its type is `unknown`. */
export interface CommandDefinition<Input, Output, Errors> {
  /** Schema of the body. The caller passes its input type, the handler gets its output type. */
  readonly input?: Input | undefined;
  /** Schema of the answer. The handler returns its input type, the caller gets its output type. */
  readonly output?: Output | undefined;
  /** Errors that the handler may throw, by code. The caller distinguishes them by that code. */
  readonly errors?: Errors | undefined;
}

/** A command whose path was made concrete by `.at()`. */
export interface BoundCommand<Pattern extends string, Input, Output, Errors> extends ErrorMethods<Errors> {
  readonly kind: "command";
  readonly service: string;
  readonly path: string;
  readonly pattern: Pattern;
  readonly input: Input;
  readonly output: Output;
}

/** A command as {@link command} declares it. The object is frozen. */
export interface CommandContract<
  Path extends string,
  Input = undefined,
  Output = undefined,
  Errors = NoErrors,
> extends ErrorMethods<Errors> {
  readonly kind: "command";
  readonly service: string;
  readonly path: Path;
  readonly input: Input;
  readonly output: Output;
  /**
   * Returns the same command with values for the parameters of its path.
   *
   * @example await service.call(getOrder.at({ id: 7 }));
   * @throws `INVALID_ARGUMENT` for a value that is missing, unknown, empty, neither a string nor a finite number, or that
   *   contains `/` or `?`.
   */
  at(values: PathValues<Path>): BoundCommand<Path, Input, Output, Errors>;
}

/**
 * Declares a command: a plain value that `route`, `call` and `send` accept in place of a path, and that gives both sides their
 * types. A message carries the input type of the schemas, without undeclared fields where confluo can detect them; the
 * receiving side transforms the value.
 *
 * @example
 * export const charge = command("billing", "/charge", {
 *   input: z.object({ amount: z.number() }),
 *   output: z.object({ receipt: z.string() }),
 *   errors: { CARD_DECLINED: { status: 402, data: z.object({ reason: z.string() }) } },
 * });
 * billing.route(charge, async ({ body }) => ({ receipt: await book(body.amount) }));
 * const { body } = await shop.call(charge, { amount: 5 });
 * @throws `INVALID_ARGUMENT` for an empty service or path, a `?` in the path, a parameter that is not a valid `:name` or occurs
 *   twice, a schema that does not follow Standard Schema, a schema that requires what JSON cannot carry (a bigint, Map, Set or
 *   symbol, as far as its library shows it), or an error whose code belongs to confluo.
 */
export function command<
  const Path extends string,
  Input extends AnySchema | undefined = undefined,
  Output extends AnySchema | undefined = undefined,
  Errors extends DeclaredErrors & CheckedErrors<Errors> = NoErrors,
>(
  service: string,
  path: Path,
  definition: CommandDefinition<Input, Output, Errors> = {},
): CommandContract<Path, Input, Output, Errors> {
  if (typeof definition !== "object" || definition === null)
    throw invalidArgument("the definition of a command", "{ input, output, errors }", definition);
  const { input, output, errors = {} } = definition;
  checkCommand({ kind: "command", service, path, input, output, errors });
  checkCarried(`the input of ${path}`, input);
  checkCarried(`the output of ${path}`, output);
  for (const code of Object.keys(errors))
    checkCarried(`the data of the declared error ${code}`, dataSchemaOf({ errors }, code));
  const shared = {
    kind: "command",
    service,
    input: input as Input,
    output: output as Output,
    errors: Object.freeze({ ...errors }) as Errors,
  } as const;
  const methods = errorMethods(shared.errors, { service, path });
  return Object.freeze({
    ...shared,
    ...methods,
    path,
    at: (values: PathValues<Path>) =>
      Object.freeze({ ...shared, ...methods, path: bindPath(path, values), pattern: path }),
  });
}

/**
 * Checks that a value is the contract of a command. Plain data is accepted, too.
 *
 * @throws `INVALID_ARGUMENT` for a contract that {@link command} would refuse, and for any other value.
 */
export function checkCommand(value: unknown): asserts value is AnyCommand {
  if (checked.has(value as object)) return;
  if (typeof value !== "object" || value === null || (value as Partial<AnyCommand>).kind !== "command") {
    throw invalidArgument("a command", "a contract made by command(), or its data", value);
  }
  const { service, path, pattern, input, output, errors } = value as Partial<AnyCommand>;
  if (typeof service !== "string" || service === "") {
    throw invalidArgument("the service of a command", "a non-empty string", service);
  }
  checkPath(path, pattern);
  checkSchema(`the input of ${path}`, input);
  checkSchema(`the output of ${path}`, output);
  if (errors !== undefined) checkErrors(errors);
  if (Object.isFrozen(value)) checked.add(value);
}

// Frozen contracts that were checked. They cannot change, so later calls do not check them again.
const checked = new WeakSet<object>();
