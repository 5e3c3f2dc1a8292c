/** The causes of an error, and the errors that it stands for, as text: for logs and dead letters, never for answers. */

import { clip, describeThrown, isErrorCode, type Thrown } from "./errors.ts";

/** An error, one of those that it stands for, or one of its causes. */
interface ToldError {
  /** How it belongs to the error before it; empty for the error itself. */
  readonly label: string;
  readonly thrown: Thrown;
}

/** An error, and all that is told of besides. */
type ToldCauses = readonly [ToldError, ...ToldError[]];

// A chain of hundreds helps nobody who reads all of it.
const MOST_TOLD = 12;
const LINE_LENGTH = 500;

/**
 * An error with its causes and, of an `AggregateError`, its errors, in one line: `Error: no; caused by Error: not there`.
 * Never throws.
 */
export function lineOf(error: unknown): string {
  return tellAll(error)
    .map(({ label, thrown }, at) => {
      const said = clip(headOf(thrown).replace(/\s+/g, " "), LINE_LENGTH);
      return at === 0 ? said : `${label} ${said}`;
    })
    .join("; ");
}

/** The lines of {@link lineOf} for all but the error itself. */
export function causesOf(error: unknown): readonly string[] {
  return tellAll(error)
    .slice(1)
    .map(({ label, thrown }) => clip(`${label} ${headOf(thrown).replace(/\s+/g, " ")}`, LINE_LENGTH));
}

/**
 * The stack of an error, followed by those of its causes and, of an `AggregateError`, of its errors; empty if there is
 * none. Of a text that would be longer than `most` characters, each has its share. Never throws.
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

/** As {@link stacksOf}, without the error itself. */
export function causeStacksOf(error: unknown): readonly string[] {
  return causeStacksIn(tellAll(error));
}

function causeStacksIn([first, ...others]: ToldCauses): readonly string[] {
  const known = framesOf(first.thrown.stack);
  return others.map(({ label, thrown }) => `${label} ${shortened(thrown.stack, known) || headOf(thrown)}`);
}

/** The story of an error, as a dead letter tells it. */
export interface Story {
  readonly name: string;
  /** Code of an error of confluo's own or of a `ServiceError`; `HANDLER_FAILED` for anything else. */
  readonly code: string;
  readonly message: string;
  /** With those of its causes, and of the errors of an `AggregateError`. */
  readonly stack: string;
}

// Headers have a bound; the beginning of a stack is the part that says where.
const NAME_LENGTH = 200;
const MESSAGE_LENGTH = 2_000;
const STACK_LENGTH = 6_000;

/** Tells the story of an error. Never throws. */
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

/** A stack without the frames at its end that it has in common with another one. */
function shortened(stack: string, known: readonly string[]): string {
  const lines = stack.split("\n");
  let same = 0;
  while (same < known.length && lines.at(-1 - same) === known.at(-1 - same)) same += 1;
  return same < 2 ? stack : [...lines.slice(0, -same), `    … ${same} more, as above`].join("\n");
}

/** Code, or name, and message. */
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

// The messages of confluo's own errors repeat what the client or Node said.
function isSaid(cause: unknown, { ours }: Thrown): boolean {
  const isOwn = ours !== undefined && isErrorCode(ours.code) && ours.code !== "SERVICE_ERROR";
  return isOwn && describeThrown(cause).ours === undefined;
}

// A getter may throw, and so may any look at a proxy.
function insideOf(error: unknown): { readonly cause: unknown; readonly errors: readonly unknown[] } {
  try {
    if (typeof error !== "object" || error === null) return { cause: undefined, errors: [] };
    const { cause, errors } = error as { readonly cause?: unknown; readonly errors?: unknown };
    return { cause, errors: Array.isArray(errors) ? [...(errors as readonly unknown[])] : [] };
  } catch {
    return { cause: undefined, errors: [] };
  }
}
