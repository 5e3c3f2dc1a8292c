/** A limit on what may never end. */

import { setTimeout as sleep } from "node:timers/promises";

/** Rejects if the work takes longer; the work is not stopped. */
export async function atMost<T>(ms: number, work: Promise<T>): Promise<T> {
  const over = new AbortController();
  const late = sleep(ms, undefined, { signal: over.signal }).then(() => {
    throw new Error(`it did not end within ${ms / 1_000} s`);
  });
  late.catch(() => undefined);
  return await Promise.race([work, late]).finally(() => over.abort());
}
