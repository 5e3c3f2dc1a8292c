/** Several things that go on at the same time. */

/** As many as a connection's channels for such: more would wait for each other there, and could not be called off. */
const AT_A_TIME = 4;

/**
 * Resolves when all have settled. What comes next must not meet some of them halfway.
 *
 * @throws what the first of them rejected with, in their order.
 */
export async function settleAll(all: Iterable<Promise<unknown>>): Promise<void> {
  const failed = (await Promise.allSettled(all)).find(({ status }) => status === "rejected");
  if (failed?.status === "rejected") throw failed.reason;
}

/**
 * Works on several items at a time. After a failure nothing new is begun.
 *
 * @returns the results, in the order of the items.
 * @throws the first failure, when all that was begun has settled.
 */
export async function mapConcurrently<Item, Result>(
  items: readonly Item[],
  work: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results = new Array<Result>(items.length);
  const left = items.entries();
  let failure: { readonly reason: unknown } | undefined;
  const worker = async (): Promise<void> => {
    for (const [at, item] of left) {
      if (failure !== undefined) return;
      try {
        results[at] = await work(item);
      } catch (reason) {
        failure ??= { reason };
      }
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, worker));
  if (failure !== undefined) throw failure.reason;
  return results;
}

/** The same, the first item by itself: where a broker refuses that, it would refuse the others, and write down each. */
export async function firstThenRest<Item>(
  [first, ...others]: readonly Item[],
  work: (item: Item) => Promise<unknown>,
): Promise<void> {
  if (first === undefined) return;
  await work(first);
  await mapConcurrently(others, work);
}
