/**
 * Describes an error with its causes and its inner errors as text, for logs and dead letters. Answers never contain this text.
 */

import { clip, describeThrown, isErrorCode, type Thrown } from "./errors.ts";

/** An error, or one of its causes or inner errors. */
interface ToldError {
  /** The relation to the error before it; empty for the error itself. */
  readonly label: string;
  readonly thrown: Thrown;
}

/** An error, followed by its causes and inner errors. */
type ToldCauses = readonly [ToldError, ...ToldError[]];

// Limits the text for a chain of hundreds of errors.
const MOST_TOLD = 12;
const LINE_LENGTH = 500;

/**
 * Describes an error, its causes and the errors of an `AggregateError` in one line, such as
 * `Error: no; caused by Error: not there`. Never throws.
 */
export function lineOf(error: unknown): string {
  return tellAll(error)
    .map(({ label, thrown }, at) => {
      const said = clip(headOf(thrown).replace(/\s+/g, " "), LINE_LENGTH);
      return at === 0 ? said : `${label} ${said}`;
    })
    .join("; ");
}

/** Returns the parts of {@link lineOf} except the error itself. */
export function causesOf(error: unknown): readonly string[] {
  return tellAll(error)
    .slice(1)
    .map(({ label, thrown }) => clip(`${label} ${headOf(thrown).replace(/\s+/g, " ")}`, LINE_LENGTH));
}

/**
 * Returns the stack of an error, followed by those of its causes and, for an `AggregateError`, of its errors; empty if there is
 * none. If the text would be longer than `most` characters, each stack is shortened to its share. Never throws.
 */
export function stacksOf(error: unknown, most: number = Number.POSITIVE_INFINITY): string {
  return stacksIn(tellAll(error), most);
}

function stacksIn(told: ToldCauses, most: number): string {
  const [first] = told;
  if (told.length === 1) return clip(first.thrown.stack, most);
  const texts = [first.thrown.stack || headOf(first.thrown), ...causeStacksIn(told)];
  let left = most - (texts.length - 1);
  const cut = texts.map((text, at) => {
    const share = clip(text, Math.floor(left / (texts.length - at)));
    left -= share.length;
    return share;
  });
  return cut.join("\n");
}

/** Returns the same as {@link stacksOf}, without the error itself. */
export function causeStacksOf(error: unknown): readonly string[] {
  return causeStacksIn(tellAll(error));
}

function causeStacksIn([first, ...others]: ToldCauses): readonly string[] {
  const known = framesOf(first.thrown.stack);
  return others.map(({ label, thrown }) => `${label} ${shortened(thrown.stack, known) || headOf(thrown)}`);
}

/** The description of an error in a dead letter. */
export interface Story {
  readonly name: string;
  /** Code of one of confluo's own errors or of a `ServiceError`; `HANDLER_FAILED` for any other error. */
  readonly code: string;
  readonly message: string;
  /** The stack, followed by those of the causes and of the errors of an `AggregateError`. */
  readonly stack: string;
}

// The size of headers is limited. A stack is cut at its end, because its beginning shows where the error was thrown.
const NAME_LENGTH = 200;
const MESSAGE_LENGTH = 2_000;
const STACK_LENGTH = 6_000;

/** Describes an error for a dead letter. Never throws. */
export function storyOf(error: unknown): Story {
  const told = tellAll(error);
  const { name, message, ours } = told[0].thrown;
  return {
    name: clip(name, NAME_LENGTH),
    code: ours !== undefined && ours.kind !== "remote" ? clip(ours.code, NAME_LENGTH) : "HANDLER_FAILED",
    message: clip(message, MESSAGE_LENGTH),
    stack: stacksIn(told, STACK_LENGTH),
  };
}

function framesOf(stack: string): readonly string[] {
  return stack.split("\n").filter((line) => line.startsWith("    at "));
}

/** Returns a stack without the frames at its end that another stack contains as well. */
function shortened(stack: string, known: readonly string[]): string {
  const lines = stack.split("\n");
  let same = 0;
  while (same < known.length && lines.at(-1 - same) === known.at(-1 - same)) same += 1;
  return same < 2 ? stack : [...lines.slice(0, -same), `    … ${same} more, as above`].join("\n");
}

/** Returns the code or the name, and the message. */
function headOf({ name, message, ours }: Thrown): string {
  return `${ours?.code ?? name}: ${message}`;
}

function tellAll(error: unknown): ToldCauses {
  const told: ToldError[] = [];
  const seen = new Set<unknown>();
  const tell = (each: unknown, label: string): void => {
    if (told.length === MOST_TOLD || seen.has(each)) return;
    if (typeof each === "object") seen.add(each);
    const { cause, errors } = insideOf(each);
    const thrown = describeThrown(each);
    told.push({ label, thrown });
    for (const [at, inner] of errors.entries()) tell(inner, `error ${at + 1} of ${errors.length}:`);
    if (cause !== undefined && !isSaid(cause, thrown)) tell(cause, "caused by");
  };
  tell(error, "");
  return told as [ToldError, ...ToldError[]];
}

// The messages of confluo's own errors already contain the message of the client's or Node's error.
function isSaid(cause: unknown, { ours }: Thrown): boolean {
  const isOwn = ours !== undefined && isErrorCode(ours.code) && ours.code !== "SERVICE_ERROR";
  return isOwn && describeThrown(cause).ours === undefined;
}

// A getter or a proxy may throw.
function insideOf(error: unknown): { readonly cause: unknown; readonly errors: readonly unknown[] } {
  try {
    if (typeof error !== "object" || error === null) return { cause: undefined, errors: [] };
    const { cause, errors } = error as { readonly cause?: unknown; readonly errors?: unknown };
    return { cause, errors: Array.isArray(errors) ? [...(errors as readonly unknown[])] : [] };
  } catch {
    return { cause: undefined, errors: [] };
  }
}
