/** How often a failed message is tried again, and when. */

/** When a one-way command or event whose handler failed is tried again. A call is never retried: its caller decides. */
export interface RetryOptions {
  /** Tries in all, the first included: 1 means none after it. From 1 to 1,000. Default: 10. */
  readonly attempts?: number | undefined;
  /** How long to wait before each further try. */
  readonly backoff?: BackoffOptions | undefined;
}

/**
 * Waits that grow: before try n + 1 a random time between 0 and `firstMs * factor ** (n - 1)`, at most `maxMs`. That is
 * 'full jitter': what failed together does not come back together. No wait is shorter than 250 ms.
 */
export interface BackoffOptions {
  /** Bound of the wait before the second try, in milliseconds. Default: 1,000. */
  readonly firstMs?: number | undefined;
  /** Bound of all waits, in milliseconds. Default: 256,000. */
  readonly maxMs?: number | undefined;
  /** The factor by which the bound grows, 1 or more. Default: 2. */
  readonly factor?: number | undefined;
}

/** {@link RetryOptions} with nothing left out. */
export interface RetryPolicy {
  readonly attempts: number;
  readonly backoff: Backoff;
}

/** {@link BackoffOptions} with nothing left out. */
export type Backoff = { readonly [Name in keyof BackoffOptions]-?: number };

/** Ten tries in about four minutes on average, eight and a half at most. */
export const defaultRetry: RetryPolicy = {
  attempts: 10,
  backoff: { firstMs: 1_000, maxMs: 256_000, factor: 2 },
};
