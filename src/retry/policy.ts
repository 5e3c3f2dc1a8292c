/** How often a failed message is tried again, and when. Pure: chance comes from outside. */

import { ConfluoError, invalidArgument, show } from "../errors.ts";

/** When a one-way command or event whose handler failed is tried again. A call is never retried: its caller decides. */
export interface RetryOptions {
  /** Tries in all, the first included: 1 means none after it. From 1 to 1,000. Default: 10. */
  readonly attempts?: number;
  /** How long to wait before each further try. */
  readonly backoff?: BackoffOptions;
}

/**
 * Waits that grow: before try n + 1 a random time between 0 and `firstMs * factor ** (n - 1)`, at most `maxMs`. That is
 * 'full jitter': what failed together does not come back together. No wait is shorter than 250 ms.
 */
export interface BackoffOptions {
  /** Bound of the wait before the second try, in milliseconds. Default: 1,000. */
  readonly firstMs?: number;
  /** Bound of all waits, in milliseconds. Default: 256,000. */
  readonly maxMs?: number;
  /** What the bound grows by, 1 or more. Default: 2. */
  readonly factor?: number;
}

/** {@link RetryOptions} with nothing left out. */
export interface RetryPolicy {
  readonly attempts: number;
  readonly backoff: Required<BackoffOptions>;
}

/** Ten tries in about four minutes on average, eight and a half at most. */
export const defaultRetry: RetryPolicy = {
  attempts: 10,
  backoff: { firstMs: 1_000, maxMs: 256_000, factor: 2 },
};

const MOST_ATTEMPTS = 1_000;
const MOST_MS = 30 * 24 * 60 * 60 * 1_000;

/**
 * Fills in what was left out.
 *
 * @throws `INVALID_ARGUMENT` for a number out of its range, or an unknown name.
 */
export function retryPolicy(given: RetryOptions | undefined, otherwise: RetryPolicy): RetryPolicy {
  if (given === undefined) return otherwise;
  const { attempts = otherwise.attempts, backoff = {} } = fields("retry", given, otherwise);
  if (!Number.isInteger(attempts) || attempts < 1 || attempts > MOST_ATTEMPTS)
    throw invalidArgument("retry.attempts", `a whole number from 1 to ${MOST_ATTEMPTS}`, attempts);
  const merged = { ...otherwise.backoff, ...fields("retry.backoff", backoff, otherwise.backoff) };
  for (const name of ["firstMs", "maxMs"] as const) {
    const ms = merged[name];
    if (typeof ms !== "number" || !(ms >= 1) || ms > MOST_MS)
      throw invalidArgument(`retry.backoff.${name}`, "a number of milliseconds from 1 to 30 days", ms);
  }
  const { factor } = merged;
  if (typeof factor !== "number" || !(factor >= 1) || factor > 100)
    throw invalidArgument("retry.backoff.factor", "a number from 1 to 100", factor);
  return { attempts, backoff: merged };
}

function fields<Given extends object>(of: string, given: Given, known: object): Given {
  if (typeof given !== "object" || given === null || Array.isArray(given))
    throw invalidArgument(of, "an object", given);
  for (const name of Object.keys(given)) {
    if (Object.hasOwn(known, name)) continue;
    const names = Object.keys(known).join(", ");
    throw new ConfluoError("INVALID_ARGUMENT", `${of} has no option ${show(name)}, only ${names}.`);
  }
  return given;
}

/** How long to wait after a number of failed tries, in milliseconds. `chance` is a number from 0 to 1. */
export function backoffMs(
  failedTries: number,
  { firstMs, maxMs, factor }: Required<BackoffOptions>,
  chance: number,
): number {
  return chance * Math.min(maxMs, firstMs * factor ** (failedTries - 1));
}
