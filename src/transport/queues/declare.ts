/** Putting exchanges, queues and bindings at the broker. */

import { setTimeout as sleep } from "node:timers/promises";
import { firstThenRest, mapConcurrently } from "../../async/concurrently.ts";
import { isConfluoError } from "../../errors.ts";
import type { DeclaredQueue } from "../../protocol/topology.ts";
import type { AmqpClient, ExchangeSpec, QueueSpec, TopologyRequest } from "../amqp-client.ts";

const AGAIN_MS = [50, 150, 450];
/** A broker that takes longer to refuse has tried: then it is not for a moment. */
const PROMPT_MS = 500;
/** Requests that are made together have to be done before a broker counts as silent, also by a slow one. */
const EXCHANGES_AT_ONCE = 32;
const QUEUES_AT_ONCE = 5;
const BINDINGS_AT_ONCE = 100;

/** Declares a queue and binds it. */
export async function declare(
  client: AmqpClient,
  { name, arguments: args, bindings = [] }: DeclaredQueue,
): Promise<void> {
  await declareQueue(client, { name, arguments: args });
  for (const { exchange, key } of bindings) await client.bind(name, exchange, key);
}

/** Declares exchanges, in a few round trips. */
export function declareExchanges(client: AmqpClient, exchanges: readonly ExchangeSpec[]): Promise<void> {
  return inFewTrips(client, exchanges, {
    atOnce: EXCHANGES_AT_ONCE,
    requests: (exchange) => [{ kind: "exchange", ...exchange }],
    alone: (exchange) => client.declareExchange(exchange),
  });
}

/** Declares queues and binds them, in a few round trips. */
export function declareQueues(client: AmqpClient, queues: readonly DeclaredQueue[]): Promise<void> {
  return inFewTrips(client, queues, {
    atOnce: QUEUES_AT_ONCE,
    requests: ({ name, arguments: args, bindings = [] }) => [
      { kind: "queue", name, arguments: args },
      ...bindings.map(({ exchange, key }) => ({ kind: "binding" as const, queue: name, exchange, key })),
    ],
    alone: (queue) => declare(client, queue),
  });
}

/** The bindings to make. */
export interface Bindings {
  readonly queue: string;
  readonly exchange: string;
  readonly keys: readonly string[];
  /** Told of each key that is bound. */
  onBound(key: string): void;
}

/** Binds a queue by any number of keys, in a few round trips. */
export function bindAll(client: AmqpClient, { queue, exchange, keys, onBound }: Bindings): Promise<void> {
  return inFewTrips(client, keys, {
    atOnce: BINDINGS_AT_ONCE,
    requests: (key) => [{ kind: "binding", queue, exchange, key }],
    alone: (key) => client.bind(queue, exchange, key),
    onDone: onBound,
  });
}

interface Trips<Item> {
  /** How many items go in one trip, at most. */
  readonly atOnce: number;
  requests(item: Item): readonly TopologyRequest[];
  alone(item: Item): Promise<unknown>;
  onDone?(item: Item): void;
}

// The first item by itself: where a broker refuses that, it would refuse the others. What is refused together is asked for
// again one by one: so the refusal is that of one item, and the others are done.
async function inFewTrips<Item>(
  client: AmqpClient,
  items: readonly Item[],
  trips: Trips<Item>,
): Promise<void> {
  const { atOnce, requests, alone, onDone } = trips;
  const one = async (item: Item): Promise<void> => {
    await alone(item);
    onDone?.(item);
  };
  const ask = client.request?.bind(client);
  const [first, ...others] = items;
  if (first === undefined || ask === undefined) return firstThenRest(items, one);
  await one(first);
  const refusals: unknown[] = [];
  const oneOrRefusal = (item: Item): Promise<unknown> =>
    one(item).catch((error: unknown) => {
      if (isConfluoError(error, "CONNECTION_LOST")) throw error;
      refusals.push(error);
    });
  await mapConcurrently(portionsOf(others, atOnce), async (portion) => {
    try {
      await ask(portion.flatMap(requests));
    } catch (error) {
      if (isConfluoError(error, "CONNECTION_LOST")) throw error;
      await mapConcurrently(portion, oneOrRefusal);
      return;
    }
    if (onDone !== undefined) portion.forEach(onDone);
  });
  if (refusals.length > 0) throw refusals[0];
}

function portionsOf<Item>(items: readonly Item[], size: number): readonly (readonly Item[])[] {
  const count = Math.ceil(items.length / size);
  return Array.from({ length: count }, (_, n) => items.slice(n * size, (n + 1) * size));
}

// A quorum queue that is just being made, such as by an attempt to connect that was given up meanwhile, is refused as if its
// node were down. Seen on RabbitMQ 4.0.
async function declareQueue(client: AmqpClient, spec: QueueSpec): Promise<void> {
  const isQuorum = spec.arguments?.["x-queue-type"] === "quorum";
  for (const waitMs of isQuorum ? AGAIN_MS : []) {
    const askedAt = performance.now();
    try {
      await client.declareQueue(spec);
      return;
    } catch (error) {
      if (!isConfluoError(error, "UNAVAILABLE") || performance.now() - askedAt > PROMPT_MS) throw error;
    }
    await sleep(waitMs);
  }
  await client.declareQueue(spec);
}
