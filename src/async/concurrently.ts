/** Runs several operations at the same time. */

/**
 * The number of a connection's channels for such operations. Further ones would wait for a channel, and cannot be cancelled.
 */
const AT_A_TIME = 4;

/**
 * Resolves when all promises have settled, so that the next step does not begin while some of them are still running.
 *
 * @throws the error of the first promise that rejected, in the order of the list.
 */
export async function settleAll(all: Iterable<Promise<unknown>>): Promise<void> {
  const failed = (await Promise.allSettled(all)).find(({ status }) => status === "rejected");
  if (failed?.status === "rejected") throw failed.reason;
}

/**
 * Runs a function for several items at a time. After a failure, it starts no further items.
 *
 * @returns the results, in the order of the items.
 * @throws the first failure, once all items that were started have settled.
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

/**
 * Works like {@link mapConcurrently}, but finishes the first item before it starts the others. If a broker refuses the first
 * item, it would refuse and log every other one, too.
 */
export async function firstThenRest<Item>(
  [first, ...others]: readonly Item[],
  work: (item: Item) => Promise<unknown>,
): Promise<void> {
  if (first === undefined) return;
  await work(first);
  await mapConcurrently(others, work);
}
