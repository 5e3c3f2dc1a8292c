/** Declares exchanges, queues and bindings at the broker. */

import { setTimeout as sleep } from "node:timers/promises";
import { firstThenRest, mapConcurrently } from "../../async/concurrently.ts";
import { isConfluoError } from "../../errors.ts";
import type { DeclaredQueue } from "../../protocol/topology.ts";
import type { AmqpClient, ExchangeSpec, QueueSpec, TopologyRequest } from "../amqp-client.ts";

/** The pauses before a queue is declared again, in milliseconds. */
const AGAIN_MS = [50, 150, 450];
/** A refusal that takes longer, in milliseconds, is not a momentary one: the broker has tried to reach a node. */
const PROMPT_MS = 500;
/** The most requests in one round trip. Even a slow broker must answer them before it counts as silent. */
const EXCHANGES_AT_ONCE = 32;
const QUEUES_AT_ONCE = 5;
const BINDINGS_AT_ONCE = 100;

/** Returns whether a limit of the broker is reached, on connections or the like, which ends when others disconnect. */
export function isLimit(error: unknown): boolean {
  return (
    isConfluoError(error) && (error.data as { readonly limit?: unknown } | undefined)?.limit !== undefined
  );
}

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
  /** Is called with each key that is bound. */
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
  /** The most items in one round trip. */
  readonly atOnce: number;
  requests(item: Item): readonly TopologyRequest[];
  alone(item: Item): Promise<unknown>;
  onDone?(item: Item): void;
}

// Requests a group of items, then the other groups. If the broker refuses a group, each item of it is requested again by itself,
// so that only the refused item fails. If it then refuses the very first item, it would refuse the others, too: nothing more is
// requested.
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
  const [only] = items;
  if (only !== undefined && items.length === 1 && ask === undefined) return one(only);
  const [first, ...others] = portionsOf(items, atOnce);
  if (first === undefined || ask === undefined) return firstThenRest(items, one);
  const refusals: unknown[] = [];
  const oneOrRefusal = (item: Item): Promise<unknown> =>
    one(item).catch((error: unknown) => {
      if (isConfluoError(error, "CONNECTION_LOST")) throw error;
      refusals.push(error);
    });
  const isGranted = async (portion: readonly Item[]): Promise<boolean> => {
    try {
      await ask(portion.flatMap(requests));
    } catch (error) {
      if (isConfluoError(error, "CONNECTION_LOST")) throw error;
      return false;
    }
    if (onDone !== undefined) portion.forEach(onDone);
    return true;
  };
  if (!(await isGranted(first))) {
    const [firstOfAll, ...rest] = first;
    if (firstOfAll !== undefined) await one(firstOfAll);
    await mapConcurrently(rest, oneOrRefusal);
  }
  await mapConcurrently(others, async (portion) => {
    if (!(await isGranted(portion))) await mapConcurrently(portion, oneOrRefusal);
  });
  if (refusals.length > 0) throw refusals[0];
}

function portionsOf<Item>(items: readonly Item[], size: number): readonly (readonly Item[])[] {
  const count = Math.ceil(items.length / size);
  return Array.from({ length: count }, (_, n) => items.slice(n * size, (n + 1) * size));
}

// Declares a queue, with retries for quorum queues. While a quorum queue is being created, for example by an attempt to connect
// that was given up, the broker refuses it as if its node were down. Seen on RabbitMQ 4.0.
async function declareQueue(client: AmqpClient, spec: QueueSpec): Promise<void> {
  const isQuorum = spec.arguments?.["x-queue-type"] === "quorum";
  for (const waitMs of isQuorum ? AGAIN_MS : []) {
    const askedAt = performance.now();
    try {
      await client.declareQueue(spec);
      return;
    } catch (error) {
      const isMomentary = isConfluoError(error, "UNAVAILABLE") && !isLimit(error);
      if (!isMomentary || performance.now() - askedAt > PROMPT_MS) throw error;
    }
    await sleep(waitMs);
  }
  await client.declareQueue(spec);
}
