/**
 * Finds queues and exchanges that exist with other arguments than confluo declares, or that cannot be compared because a right
 * is missing or their node is down.
 */

import { mapConcurrently } from "../async/concurrently.ts";
import { type ConfluoError, isConfluoError } from "../errors.ts";
import { readWaitOptions, type WaitOptions } from "../options/checks.ts";
import { checkName } from "../protocol/address.ts";
import type { AmqpClient, ExchangeSpec } from "../transport/amqp-client.ts";
import { withClient } from "../transport/short-session.ts";
import type { AskParts } from "./ask.ts";
import { declaredLevels } from "./delay-queues.ts";
import { isUntold } from "./service-stats.ts";

const TIMEOUT_MS = 20_000;

export async function conflicts(
  { namespace, open }: AskParts,
  of: string | readonly string[] | undefined,
  options: WaitOptions | undefined,
): Promise<readonly ConfluoError[]> {
  const services = of === undefined || Array.isArray(of) ? of : [of as string];
  const names = services?.map((service) => checkName(service, "service"));
  const limits = readWaitOptions("conflicts", options, TIMEOUT_MS);
  const own = names?.flatMap((name) => [...namespace.callQueues(name), ...namespace.durableQueues(name)]);
  return withClient({ ...limits, what: "the broker to compare queues" }, open, async (client: AmqpClient) => {
    const queues = own ?? [...namespace.sharedQueues(), ...(await declaredLevels(client, namespace))];
    let exist = 0;
    const found = await mapConcurrently(queues, async ({ name, arguments: args }) => {
      let isThere = false;
      const refused = await conflictOf(async () => {
        isThere = (await client.inspectQueue(name)) !== undefined;
      });
      if (!isThere) return refused;
      exist += 1;
      return conflictOf(() => client.declareQueue({ name, arguments: args }));
    });
    // An exchange cannot be compared without declaring it. That is done only if a shared queue exists, because then the
    // exchanges should exist, too.
    if (names === undefined && exist > 0) {
      const compare = (exchange: ExchangeSpec): Promise<ConfluoError | undefined> =>
        conflictOf(() => client.declareExchange(exchange));
      found.push(...(await mapConcurrently(namespace.exchanges(), compare)));
    }
    return found.filter((conflict) => conflict !== undefined);
  });
}

async function conflictOf(declaring: () => Promise<unknown>): Promise<ConfluoError | undefined> {
  try {
    await declaring();
    return undefined;
  } catch (error) {
    if (isConfluoError(error, "TOPOLOGY_CONFLICT") || isUntold(error)) return error;
    throw error;
  }
}
