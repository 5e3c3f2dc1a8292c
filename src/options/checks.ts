/** Checks the options that an application passes. */

import type { WaitLimits } from "../async/timed-promise.ts";
import { ConfluoError, invalidArgument, show } from "../errors.ts";

/** The names of all options of a type. A missing name is a compile error. */
export type OptionNames<Options> = Readonly<Record<keyof Options & string, true>>;

/** Options without `undefined`: each is either given or absent. */
export type GivenOptions<Options> = { readonly [Name in keyof Options]?: Exclude<Options[Name], undefined> };

/**
 * Returns the given options without those that are `undefined`, which count as left out. Reports to JavaScript users what
 * TypeScript reports at compile time, such as a misspelt name.
 *
 * @throws `INVALID_ARGUMENT` for a value that is not an object, or that has an unknown name.
 */
export function checkOptions<Options extends object>(
  of: string,
  given: Options | undefined,
  known: OptionNames<Options>,
): GivenOptions<Options> {
  if (given === undefined) return {};
  if (typeof given !== "object" || given === null || Array.isArray(given))
    throw invalidArgument(`The options of ${of}`, "an object", given);
  let isComplete = true;
  for (const name of Object.keys(given)) {
    if (given[name as keyof Options] === undefined) isComplete = false;
    if (Object.hasOwn(known, name)) continue;
    const names = Object.keys(known).join(", ");
    throw new ConfluoError("INVALID_ARGUMENT", `${of} has no option ${show(name)}, only ${names}.`);
  }
  return (isComplete ? given : withoutUndefined(given)) as GivenOptions<Options>;
}

function withoutUndefined(given: object): object {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

/** The longest delay of `setTimeout`, 24 days. A longer one would fire at once. */
export const LONGEST_MS = 2_147_483_647;

/** Checks a wait in milliseconds, and rounds it up. */
export function checkMs(what: string, ms: number): number {
  if (typeof ms !== "number" || !(ms >= 1) || ms > LONGEST_MS) {
    throw invalidArgument(what, `a number of milliseconds from 1 to ${LONGEST_MS}`, ms);
  }
  return Math.ceil(ms);
}

/** Checks an `AbortSignal`, which may come from another realm. */
export function checkSignal(signal: AbortSignal | undefined): AbortSignal | undefined {
  if (signal === undefined) return undefined;
  if (isSignal(signal)) return signal;
  throw invalidArgument("signal", "an AbortSignal", signal);
}

function isSignal(value: unknown): value is AbortSignal {
  if (typeof value !== "object" || value === null) return false;
  const { aborted, addEventListener, removeEventListener } = value as Partial<AbortSignal>;
  return (
    typeof aborted === "boolean" &&
    typeof addEventListener === "function" &&
    typeof removeEventListener === "function"
  );
}

/** Options of all functions that wait. */
export interface WaitOptions {
  /** Longest wait, in milliseconds. Default: the service's `timeoutMs`, 20,000 unless set. */
  readonly timeoutMs?: number | undefined;
  /** Ends the wait when it aborts: the promise rejects with `CANCELLED`. Messages that were already sent are not recalled. */
  readonly signal?: AbortSignal | undefined;
}

const waitingOptions: OptionNames<WaitOptions> = { timeoutMs: true, signal: true };

/**
 * Returns the limits of a function that has no other options.
 *
 * @throws `INVALID_ARGUMENT`.
 */
export function readWaitOptions(of: string, given: WaitOptions | undefined, defaultMs: number): WaitLimits {
  const { timeoutMs = defaultMs, signal } = checkOptions(of, given, waitingOptions);
  return { ms: checkMs("timeoutMs", timeoutMs), signal: checkSignal(signal) };
}
