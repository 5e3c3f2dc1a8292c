/**
 * Several instances of a new service that start at once. RabbitMQ lists a quorum queue before it can be consumed: whoever
 * consumes it in between, up to some 100 ms, loses the connection (541). So an instance that makes the queues says so
 * first, by its consumer of another queue; and no instance that sees another one of these consumes before the queues are
 * known to be ready, by somebody's consumer or by the time that has passed.
 */

import { withinMs } from "../../async/abort.ts";
import type { AmqpClient } from "../amqp-client.ts";

/** The queues that are made, and the one that tells of whoever makes them. */
export interface QueueCreation {
  /** Quorum queues to consume, in the order in which they are declared. */
  readonly queues: readonly string[];
  /** A classic queue, which is there as soon as it is declared. */
  readonly sign: string;
  declareSign(): Promise<void>;
  /** Consumes the sign. */
  giveSign(): Promise<void>;
  /** Returns whether it is consumed here. */
  isSignGiven(): boolean;
  /** True if also queues that are found may have been there for no more than a moment. */
  readonly isDoubtful: boolean;
}

const LOOK_MS = 1_000;
const NEW_MS = 400;
const FOUND_MS = 150;
const SPREAD_MS = 300;
const PAUSE_MS = 40;

/** Declares by `declare` what may have to be made, and resolves when it can be consumed. */
export async function madeOnce(
  client: AmqpClient,
  plan: QueueCreation,
  declare: () => Promise<void>,
): Promise<void> {
  // Elsewhere a queue is there at once, or not at all.
  if (client.server.product !== "RabbitMQ") return declare();
  const last = plan.queues.at(-1) ?? "";
  const found = await looked(client.inspectQueue(last), { messages: 0, consumers: 1 });
  if (found === undefined) await plan.giveSign();
  await declare();
  if (found !== undefined && (!plan.isDoubtful || found.consumers + found.messages > 0)) return;
  const others = async (): Promise<number> => {
    if (found !== undefined) await plan.declareSign();
    return ((await client.inspectQueue(plan.sign))?.consumers ?? 0) - (plan.isSignGiven() ? 1 : 0);
  };
  if ((await looked(others(), 0)) <= 0) return;
  const leastMs = found === undefined ? NEW_MS : FOUND_MS;
  await untilReady(client, plan.queues, leastMs + SPREAD_MS * Math.random());
}

async function untilReady(client: AmqpClient, queues: readonly string[], ms: number): Promise<void> {
  const isReady = async (queue: string): Promise<boolean> => {
    const found = await client.inspectQueue(queue);
    return found !== undefined && found.consumers > 0;
  };
  for (const end = performance.now() + ms; performance.now() < end; ) {
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS * (0.5 + Math.random())));
    const ready = await looked(Promise.all(queues.map(isReady)), []);
    if (ready.length > 0 && ready.every((is) => is)) return;
  }
}

// A question that is not answered soon must not hold up a service.
async function looked<Value>(looking: Promise<Value>, otherwise: Value): Promise<Value> {
  return withinMs(LOOK_MS, looking, () => undefined).catch(() => otherwise);
}
