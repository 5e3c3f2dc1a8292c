/** Putting a queue at the broker. */

import type { QueuePlan } from "../../protocol/topology.ts";
import type { Wire } from "../wire.ts";

/** Declares a queue and binds it. */
export async function declare(
  wire: Wire,
  { name, arguments: args, bindings = [] }: QueuePlan,
): Promise<void> {
  await wire.declareQueue({ name, arguments: args });
  for (const { exchange, key } of bindings) await wire.bind(name, exchange, key);
}
