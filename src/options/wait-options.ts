/** Options of everything that waits. */

import type { WaitLimits } from "../async/timed-promise.ts";
import { checkMs, checkOptions, checkSignal, type OptionNames } from "./checks.ts";

/** Options of everything that waits. */
export interface WaitOptions {
  /** The longest wait, in milliseconds. Default: the service's `timeoutMs`, 20,000 unless set. */
  readonly timeoutMs?: number | undefined;
  /** Gives up waiting when it fires: the promise rejects with `CANCELLED`. What was sent stays sent. */
  readonly signal?: AbortSignal | undefined;
}

const waitingOptions: OptionNames<WaitOptions> = { timeoutMs: true, signal: true };

/**
 * Bounds of what takes no other options.
 *
 * @throws `INVALID_ARGUMENT`.
 */
export function readWaitOptions(of: string, given: WaitOptions | undefined, defaultMs: number): WaitLimits {
  const { timeoutMs = defaultMs, signal } = checkOptions(of, given, waitingOptions);
  return { ms: checkMs("timeoutMs", timeoutMs), signal: checkSignal(signal) };
}
