/** What lies at the broker otherwise than confluo declares it. */

import { waitSettings } from "../core/deadline.ts";
import type { Waiting } from "../core/options.ts";
import { type ConfluoError, isConfluoError } from "../errors.ts";
import { onOwnWire } from "../own-wire.ts";
import { checkName } from "../protocol/address.ts";
import type { Wire } from "../transport/wire.ts";
import type { AskParts } from "./ask.ts";

const TIMEOUT_MS = 20_000;

export async function conflicts(
  { namespace, open }: AskParts,
  service: string | undefined,
  options: Waiting | undefined,
): Promise<readonly ConfluoError[]> {
  if (service !== undefined) checkName(service, "service");
  const limits = waitSettings("conflicts", options, TIMEOUT_MS);
  const queues =
    service === undefined
      ? namespace.sharedQueues()
      : [...namespace.callQueues(service), ...namespace.durableQueues(service)];
  return onOwnWire({ ...limits, what: "the broker to compare queues" }, open, async (wire: Wire) => {
    const found: ConfluoError[] = [];
    let exist = 0;
    const compare = async (declaring: () => Promise<unknown>): Promise<void> => {
      try {
        await declaring();
      } catch (error) {
        if (!isConfluoError(error, "TOPOLOGY_CONFLICT")) throw error;
        found.push(error);
      }
    };
    for (const { name, arguments: args } of queues) {
      if ((await wire.inspectQueue(name)) === undefined) continue;
      exist += 1;
      await compare(() => wire.declareQueue({ name, arguments: args }));
    }
    // Exchanges cannot be looked at without being made; where a queue of theirs exists, they should, too.
    if (service === undefined && exist > 0)
      for (const { name, type, arguments: args } of namespace.exchanges())
        await compare(() =>
          wire.declareExchange(args === undefined ? { name, type } : { name, type, arguments: args }),
        );
    return found;
  });
}
