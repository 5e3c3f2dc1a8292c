/** Paths of contracts: their `:name` segments, in types and at runtime. */

import { ConfluoError, invalidArgument, show } from "../errors.ts";

// Each inferred type is wrapped in a template of its own. Only then does TypeScript 5.4 consider the types that two copies of
// the package infer to be the same.

/** Names of the `:name` segments of a path; `never` if it has none, `string` if the path is not a literal. */
export type ParamNames<Path extends string> = string extends Path
  ? string
  : Path extends `${infer Segment}/${infer Rest}`
    ? ParamName<`${Segment}`> | ParamNames<`${Rest}`>
    : ParamName<Path>;

type ParamName<Segment extends string> = Segment extends `:${infer Name}` ? `${Name}` : never;

/** The `params` that a handler gets: `{ readonly id: string }` for `/orders/:id`. */
export type PathParams<Path extends string> =
  ParamNames<Path> extends infer Name extends string ? { readonly [Key in Name]: string } : never;

/** The argument of `.at()`: `{ readonly id: string | number }` for `/orders/:id`. */
export type PathValues<Path extends string> = [ParamNames<Path>] extends [never]
  ? Readonly<Record<string, never>>
  : { readonly [Name in ParamNames<Path>]: string | number };

/** The text of the compile error for a contract with parameters that was not completed by `.at()`. */
export type UnboundPath<Path extends string> =
  `${Path} has parameters: address it with .at({ ${ParamList<Path>} })`;

// Passes the list along instead of building it on the way back. Otherwise TypeScript 5.9 compares nested templates of two
// copies of the package until its stack overflows.
type ParamList<
  Path extends string,
  Before extends string = "",
> = Path extends `${infer Segment}/${infer Rest}`
  ? ParamList<`${Rest}`, Listed<Before, ParamName<`${Segment}`>>>
  : Listed<Before, ParamName<Path>>;

type Listed<Before extends string, Name extends string> = [Name] extends [never]
  ? Before
  : Before extends ""
    ? Name
    : `${Before}, ${Name}`;

/**
 * Checks the path of a contract, except the rules that depend on the protocol: it must not be empty or have a query, and its
 * parameters must be valid and different from each other. If `.at()` made the path, the parameters of the pattern are checked
 * instead.
 *
 * @throws `INVALID_ARGUMENT` if the path is not valid.
 */
export function checkPath(path: unknown, pattern?: unknown): asserts path is string {
  for (const text of pattern === undefined ? [path] : [path, pattern]) {
    if (typeof text !== "string" || text === "") {
      throw invalidArgument("the path of a contract", "a non-empty string", text);
    }
    if (text.includes("?")) {
      throw invalidArgument(
        "the path of a contract",
        "a path without `?` (`query` is an option of the verbs)",
        text,
      );
    }
  }
  checkParams((pattern ?? path) as string);
}

function checkParams(pattern: string): void {
  const params = pattern.split("/").filter((segment) => segment.startsWith(":"));
  for (const [index, param] of params.entries()) {
    if (!isParam(param)) {
      throw invalidArgument(
        "a parameter in the path of a contract",
        "`:` and a name of letters, digits and `_` that starts with no digit",
        param,
      );
    }
    if (params.indexOf(param) !== index) {
      throw invalidArgument("the path of a contract", `a path with ${param} only once`, pattern);
    }
  }
}

/**
 * Puts values into the `:name` segments of a path, without encoding them: the protocol encodes paths later.
 *
 * @throws `INVALID_ARGUMENT` for a value that is missing, unknown, empty, neither a string nor a finite number, or that
 *   contains `/` or `?`, which would change the path's segments.
 */
export function bindPath(pattern: string, values: Readonly<Record<string, string | number>>): string {
  if (typeof values !== "object" || values === null) {
    throw invalidArgument(`the values for ${pattern}`, "an object", values);
  }
  const unused = new Set(Object.keys(values));
  const segments = pattern.split("/").map((segment) => {
    if (!isParam(segment)) return segment;
    const name = segment.slice(1);
    unused.delete(name);
    return checkValue(pattern, name, Object.hasOwn(values, name) ? values[name] : undefined);
  });
  for (const name of unused) {
    throw new ConfluoError("INVALID_ARGUMENT", `The path ${pattern} has no parameter ${show(name)}.`);
  }
  return segments.join("/");
}

/** Returns whether a concrete path fits a pattern: each segment is equal, or a non-empty value for a parameter. */
export function fitsPath(pattern: string, path: string): boolean {
  const wanted = segmentsOf(pattern);
  const given = segmentsOf(path);
  return (
    wanted.length === given.length &&
    wanted.every((segment, at) => (isParam(segment) ? given[at] !== "" : given[at] === segment))
  );
}

// A leading slash is optional and has no meaning.
function segmentsOf(path: string): readonly string[] {
  return (path.startsWith("/") ? path.slice(1) : path).split("/");
}

/**
 * Returns the concrete path of a contract, for a message.
 *
 * @throws `INVALID_ARGUMENT` if the path has parameters and was not completed by `.at()`.
 */
export function boundPath(contract: {
  readonly path: string;
  readonly pattern?: string | undefined;
}): string {
  const { path, pattern } = contract;
  if (pattern !== undefined || !path.includes(":")) return path;
  const names = path.split("/").filter(isParam);
  if (names.length === 0) return path;
  const values = names.map((name) => name.slice(1)).join(", ");
  throw new ConfluoError(
    "INVALID_ARGUMENT",
    `The path ${path} has parameters: address it with .at({ ${values} }).`,
  );
}

function isParam(segment: string): boolean {
  return /^:[A-Za-z_][A-Za-z0-9_]*$/.test(segment);
}

function checkValue(pattern: string, name: string, value: unknown): string {
  if (typeof value === "string" ? value !== "" && !/[/?]/.test(value) : Number.isFinite(value)) {
    return String(value);
  }
  throw invalidArgument(
    `the value of :${name} in ${pattern}`,
    "a finite number or a non-empty string without `/` and `?`",
    value,
  );
}
