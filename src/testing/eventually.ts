/** Waits for a state that no event announces. */

/**
 * Resolves as soon as a check returns true. Repeats the check every few milliseconds.
 *
 * @example await eventually(async () => (await broker.queue("confluo.orders.dead"))?.messages === 1, "a dead letter");
 * @throws an `Error` that contains `what`, after `timeoutMs` (default: 10,000).
 */
export async function eventually(
  check: () => boolean | Promise<boolean>,
  what: string,
  { timeoutMs = 10_000 }: { readonly timeoutMs?: number } = {},
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  for (let pauseMs = 5; ; pauseMs = Math.min(pauseMs * 2, 100)) {
    if (await check()) return;
    if (performance.now() > deadline) throw new Error(`Waited ${timeoutMs} ms in vain for ${what}.`);
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}
