/**
 * Coordinates instances of a new service that start at the same time. RabbitMQ lists a quorum queue before it can be consumed;
 * a client that consumes it in between, up to some 100 ms, loses its connection (541). So an instance that declares the queues
 * announces that first, by consuming another queue, the sign. An instance that sees such a consumer of another one waits until
 * the queues are known to be ready: each has a consumer, or enough time has passed.
 */

import { withinMs } from "../../async/abort.ts";
import type { AmqpClient } from "../amqp-client.ts";

/** The queues to declare, and the queue that serves as the sign. */
export interface QueueCreation {
  /** The quorum queues to consume, in the order in which they are declared. */
  readonly queues: readonly string[];
  /** The name of a classic queue, which can be consumed as soon as it is declared. */
  readonly sign: string;
  declareSign(): Promise<void>;
  /** Consumes the sign. */
  giveSign(): Promise<void>;
  /** Returns whether this instance consumes the sign. */
  isSignGiven(): boolean;
  /** True if queues that exist already may have been declared only a moment ago. */
  readonly isDoubtful: boolean;
}

const LOOK_MS = 1_000;
const NEW_MS = 400;
const FOUND_MS = 150;
const SPREAD_MS = 300;
const PAUSE_MS = 40;

/** Calls `declare`, and resolves when the queues can be consumed. */
export async function madeOnce(
  client: AmqpClient,
  plan: QueueCreation,
  declare: () => Promise<void>,
): Promise<void> {
  // On other brokers, a declared queue can be consumed at once.
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

// Resolves with `otherwise` if the broker does not answer soon, so that the question cannot delay a service.
async function looked<Value>(looking: Promise<Value>, otherwise: Value): Promise<Value> {
  return withinMs(LOOK_MS, looking, () => undefined).catch(() => otherwise);
}
