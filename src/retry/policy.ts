/** How many times, and when, a failed message is retried. */

/** Retries of a one-way command or event whose handler failed. A call is never retried, because its caller decides on that. */
export interface RetryOptions {
  /** Total number of tries, including the first; 1 means no retries. From 1 to 1,000. Default: 10. */
  readonly attempts?: number | undefined;
  /** The wait before each retry. */
  readonly backoff?: BackoffOptions | undefined;
}

/**
 * Growing waits. The wait before try n + 1 is a random time between 0 and `firstMs * factor ** (n - 1)`, at most `maxMs`. This
 * 'full jitter' spreads the retries of messages that failed together. No wait is shorter than 250 ms.
 */
export interface BackoffOptions {
  /** Upper bound of the wait before the second try, in milliseconds. Default: 1,000. */
  readonly firstMs?: number | undefined;
  /** Upper bound of every wait, in milliseconds. Default: 256,000. */
  readonly maxMs?: number | undefined;
  /** The factor by which the bound grows, 1 or more. Default: 2. */
  readonly factor?: number | undefined;
}

/** {@link RetryOptions} with all defaults filled in. */
export interface RetryPolicy {
  readonly attempts: number;
  readonly backoff: Backoff;
}

/** {@link BackoffOptions} with all defaults filled in. */
export type Backoff = { readonly [Name in keyof BackoffOptions]-?: number };

/** Ten tries in about four minutes on average, eight and a half at most. */
export const defaultRetry: RetryPolicy = {
  attempts: 10,
  backoff: { firstMs: 1_000, maxMs: 256_000, factor: 2 },
};
