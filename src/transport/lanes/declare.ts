/** Putting a queue at the broker. */

import { setTimeout as sleep } from "node:timers/promises";
import { isConfluoError } from "../../errors.ts";
import type { QueuePlan } from "../../protocol/topology.ts";
import type { QueueSpec, Wire } from "../wire.ts";

const AGAIN_MS = [50, 150, 450];
/** A broker that takes longer to refuse has tried: then it is not for a moment. */
const PROMPT_MS = 500;

/** Declares a queue and binds it. */
export async function declare(
  wire: Wire,
  { name, arguments: args, bindings = [] }: QueuePlan,
): Promise<void> {
  await declareQueue(wire, { name, arguments: args });
  for (const { exchange, key } of bindings) await wire.bind(name, exchange, key);
}

// A quorum queue that is just being made, such as by an attempt to connect that was given up meanwhile, is refused as if its
// node were down. Seen on RabbitMQ 4.0.
async function declareQueue(wire: Wire, spec: QueueSpec): Promise<void> {
  const isQuorum = spec.arguments?.["x-queue-type"] === "quorum";
  for (const waitMs of isQuorum ? AGAIN_MS : []) {
    const askedAt = performance.now();
    try {
      await wire.declareQueue(spec);
      return;
    } catch (error) {
      if (!isConfluoError(error, "UNAVAILABLE") || performance.now() - askedAt > PROMPT_MS) throw error;
    }
    await sleep(waitMs);
  }
  await wire.declareQueue(spec);
}
