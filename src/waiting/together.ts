/** Several things that go on at the same time. */

/**
 * Resolves when all have settled. What comes next must not meet some of them halfway.
 *
 * @throws what the first of them rejected with, in their order.
 */
export async function together(all: Iterable<Promise<unknown>>): Promise<void> {
  const failed = (await Promise.allSettled(all)).find(({ status }) => status === "rejected");
  if (failed?.status === "rejected") throw failed.reason;
}
