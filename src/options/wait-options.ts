/** Options of everything that waits. */

import type { Limits } from "../async/timed-promise.ts";
import { checkMs, checkSignal, type Known, knownOptions } from "./checks.ts";

/** Options of everything that waits. */
export interface Waiting {
  /** The longest wait, in milliseconds. Default: the service's `timeoutMs`, 20,000 unless set. */
  readonly timeoutMs?: number | undefined;
  /** Gives up waiting when it fires: the promise rejects with `CANCELLED`. What was sent stays sent. */
  readonly signal?: AbortSignal | undefined;
}

const waitingOptions: Known<Waiting> = { timeoutMs: true, signal: true };

/**
 * Bounds of what takes no other options.
 *
 * @throws `INVALID_ARGUMENT`.
 */
export function waitSettings(of: string, given: Waiting | undefined, defaultMs: number): Limits {
  const { timeoutMs = defaultMs, signal } = knownOptions(of, given, waitingOptions);
  return { ms: checkMs("timeoutMs", timeoutMs), signal: checkSignal(signal) };
}
