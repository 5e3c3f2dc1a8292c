/** What lies at the broker otherwise than confluo declares it. */

import { waitSettings } from "../core/deadline.ts";
import type { Waiting } from "../core/options.ts";
import { type ConfluoError, isConfluoError } from "../errors.ts";
import { onOwnWire } from "../own-wire.ts";
import { checkName } from "../protocol/address.ts";
import type { Wire } from "../transport/wire.ts";
import type { AskParts } from "./ask.ts";

const TIMEOUT_MS = 20_000;
/** Each takes a channel meanwhile. */
const AT_A_TIME = 16;

export async function conflicts(
  { namespace, open }: AskParts,
  of: string | readonly string[] | undefined,
  options: Waiting | undefined,
): Promise<readonly ConfluoError[]> {
  const services = of === undefined || Array.isArray(of) ? of : [of as string];
  const names = services?.map((service) => checkName(service, "service"));
  const limits = waitSettings("conflicts", options, TIMEOUT_MS);
  const queues =
    names?.flatMap((name) => [...namespace.callQueues(name), ...namespace.durableQueues(name)]) ??
    namespace.sharedQueues();
  return onOwnWire({ ...limits, what: "the broker to compare queues" }, open, async (wire: Wire) => {
    let exist = 0;
    const found = await severalAtATime(queues, async ({ name, arguments: args }) => {
      if ((await wire.inspectQueue(name)) === undefined) return undefined;
      exist += 1;
      return conflictOf(() => wire.declareQueue({ name, arguments: args }));
    });
    // Exchanges cannot be looked at without being made; where a queue of theirs exists, they should, too.
    if (names === undefined && exist > 0)
      for (const { name, type, arguments: args } of namespace.exchanges())
        found.push(
          await conflictOf(() =>
            wire.declareExchange(args === undefined ? { name, type } : { name, type, arguments: args }),
          ),
        );
    return found.filter((conflict) => conflict !== undefined);
  });
}

async function conflictOf(declaring: () => Promise<unknown>): Promise<ConfluoError | undefined> {
  try {
    await declaring();
    return undefined;
  } catch (error) {
    if (isConfluoError(error, "TOPOLOGY_CONFLICT")) return error;
    throw error;
  }
}

// One after the other, hundreds of services would take as many times as long as the way to the broker and back.
async function severalAtATime<Item, Result>(
  items: readonly Item[],
  work: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results = new Array<Result>(items.length);
  const left = items.entries();
  const worker = async (): Promise<void> => {
    for (const [at, item] of left) results[at] = await work(item);
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, worker));
  return results;
}
