/** What lies at the broker otherwise than confluo declares it, or cannot be compared for want of a right. */

import { severalAtATime } from "../async/concurrently.ts";
import { type ConfluoError, isConfluoError } from "../errors.ts";
import type { Waiting } from "../options/wait-options.ts";
import { waitSettings } from "../options/wait-options.ts";
import { checkName } from "../protocol/address.ts";
import { onOwnWire } from "../transport/short-session.ts";
import type { ExchangeSpec, Wire } from "../transport/wire.ts";
import type { AskParts } from "./ask.ts";

const TIMEOUT_MS = 20_000;

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
      let isThere = false;
      const refused = await conflictOf(async () => {
        isThere = (await wire.inspectQueue(name)) !== undefined;
      });
      if (!isThere) return refused;
      exist += 1;
      return conflictOf(() => wire.declareQueue({ name, arguments: args }));
    });
    // Exchanges cannot be compared without being made; where a queue of theirs exists, they should, too.
    if (names === undefined && exist > 0) {
      const compare = (exchange: ExchangeSpec): Promise<ConfluoError | undefined> =>
        conflictOf(() => wire.declareExchange(exchange));
      found.push(...(await severalAtATime(namespace.exchanges(), compare)));
    }
    return found.filter((conflict) => conflict !== undefined);
  });
}

async function conflictOf(declaring: () => Promise<unknown>): Promise<ConfluoError | undefined> {
  try {
    await declaring();
    return undefined;
  } catch (error) {
    if (isConfluoError(error, "TOPOLOGY_CONFLICT") || isConfluoError(error, "ACCESS_REFUSED")) return error;
    throw error;
  }
}
