/**
 * Deletes and declares again the queues for calls, because they may have lost the redelivered flag. When a node of RabbitMQ
 * before 4.3 stops in order while transient messages wait in a durable classic queue, that queue may never mark a message as
 * redelivered again, until it is deleted. A client cannot see that. So the first instance that starts, or that reconnects after
 * a stop of the broker, deletes the queues and declares them again, before an instance consumes them.
 */

import { waitAtMost } from "../../async/abort.ts";
import { isConfluoError } from "../../errors.ts";
import type { DeclaredQueue } from "../../protocol/topology.ts";
import type { AmqpClient, AmqpDelivery, Consumer, ServerInfo } from "../amqp-client.ts";
import { declare } from "./declare.ts";

/** The calls that wait in a queue while it is deleted and declared again. */
export interface WaitingCalls {
  /** Takes a call in hand without running it. Returns a function that publishes it to its queue again and never rejects. */
  hold(delivery: AmqpDelivery): () => unknown;
  /** Returns whether calls can be published again. They cannot while the session is being closed. */
  canReturn(): boolean;
}

/** The queues of a service for calls. */
export interface CallQueues extends WaitingCalls {
  readonly calls: DeclaredQueue;
  readonly batches: DeclaredQueue;
  /** The queue whose consumers show other instances that somebody is renewing the queues. */
  readonly again: DeclaredQueue;
  /** Consumes `again`. */
  giveSign(): Promise<void>;
  /** Returns whether this instance consumes `again`. */
  isSignGiven(): boolean;
}

const ATTEMPTS = 16;
/** How many calls are taken in hand at a time. */
const PORTION = 128;
/** The total size of the bodies in hand, in bytes, above which no further portion is taken; then the queue stays as it is. */
const MOST_BYTES = 32 * 2 ** 20;
/** How long to wait for calls that were counted, in milliseconds. They may have expired since. */
const ARRIVE_MS = 200;
const PAUSE_MS = 40;
const OTHERS_MS = 200;
const SPREAD_MS = 300;

/** Returns whether queues of a broker may lose the redelivered flag: RabbitMQ before 4.3. */
export function losesMarks({ product, version }: ServerInfo): boolean {
  return product === "RabbitMQ" && /^(?:[0-3]|4\.[0-2])\./.test(version);
}

/**
 * Deletes the queues for calls and declares them again, if nobody seems to consume `calls`. If several instances start
 * together, one of them does it.
 */
export async function renewCallQueues(client: AmqpClient, queues: CallQueues): Promise<void> {
  const { calls, batches, again } = queues;
  const consumersOf = async ({ name }: DeclaredQueue): Promise<number | undefined> =>
    (await client.inspectQueue(name))?.consumers;
  await makeAnew(client, again);
  await queues.giveSign();
  const others = ((await consumersOf(again)) ?? 0) - (queues.isSignGiven() ? 1 : 0);
  // Each of two instances may think that the other was first. The waiting time is random, so that one of them ends its wait and
  // goes on.
  if (others > 0 && (await isSoon(async () => ((await consumersOf(calls)) ?? 0) > 0))) return;
  await makeAnew(client, batches); // if it exists: other instances may consume it even if this one does not take batches
  await makeAnew(client, calls, queues);
}

/**
 * Deletes a queue without consumers and declares it again. Waiting messages are published to it again, if `waiting` is given;
 * without it, only an empty queue is renewed.
 */
export async function makeAnew(
  client: AmqpClient,
  plan: DeclaredQueue,
  waiting?: WaitingCalls,
): Promise<void> {
  const held: HeldCalls[] = [];
  try {
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const found = await client.inspectQueue(plan.name);
      if (found === undefined || found.consumers > 0) return;
      // If the queue exists with other arguments, this throws: such a queue is not confluo's and must not be deleted.
      if (attempt === 0) await declare(client, plan);
      if (found.messages > 0) {
        if (waiting === undefined || bytesOf(held) > MOST_BYTES) return;
        const taken = await take(client, plan.name, { messages: found.messages, waiting });
        held.push(taken);
        // The queue still marks messages as redelivered, so it stays.
        if (taken.isMarked) return;
        if (found.messages > PORTION) continue;
      }
      // Messages in hand cannot be published again, so the broker requeues them when their consumers end.
      if (held.length > 0 && waiting?.canReturn() === false) return;
      if (!(await isDeleted(client, plan.name))) continue;
      await declare(client, plan);
      return;
    }
  } finally {
    // Not awaited: while the broker accepts no messages, consuming must not be delayed.
    if (held.length > 0) void giveBack(held);
  }
}

/** The calls in hand, and their consumer. */
interface HeldCalls {
  readonly consumer: Consumer;
  readonly bytes: number;
  readonly isMarked: boolean;
  readonly returns: readonly (() => unknown)[];
}

async function take(
  client: AmqpClient,
  queue: string,
  { messages, waiting }: { readonly messages: number; readonly waiting: WaitingCalls },
): Promise<HeldCalls> {
  const expected = Math.min(messages, PORTION);
  const held = { bytes: 0, isMarked: false, returns: [] as (() => unknown)[] };
  let count = 0;
  let resolve: () => void = () => undefined;
  const arrived = new Promise<void>((done) => {
    resolve = done;
  });
  const consumer = await client.consume({
    queue,
    prefetch: PORTION,
    onDelivery: (delivery) => {
      count += 1;
      if (count >= expected) resolve();
      held.bytes += delivery.message.body.length;
      // A marked message is returned to the queue when the consumer ends, and is still marked then.
      if (delivery.redelivered) held.isMarked = true;
      else held.returns.push(waiting.hold(delivery));
    },
    onCancelled: () => resolve(),
  });
  await waitAtMost(ARRIVE_MS, arrived);
  await consumer.cancel();
  return { consumer, ...held };
}

function bytesOf(held: readonly HeldCalls[]): number {
  return held.reduce((sum, { bytes }) => sum + bytes, 0);
}

// Publishes copies. If the queue was not deleted after all, originals that the broker requeues may be marked as redelivered.
async function giveBack(held: readonly HeldCalls[]): Promise<void> {
  await Promise.allSettled(held.flatMap(({ returns }) => returns.map((returned) => returned())));
  await Promise.allSettled(held.map(({ consumer }) => consumer.close()));
}

// Deletes the queue if possible. It is not possible once it has a consumer or a message.
async function isDeleted(client: AmqpClient, queue: string): Promise<boolean> {
  try {
    await client.deleteQueue(queue, "unused and empty");
    return true;
  } catch (error) {
    if (isConfluoError(error, "TOPOLOGY_CONFLICT")) return false;
    throw error;
  }
}

// Needs two positive answers in a row, because an instance that takes the waiting messages in hand also consumes the queue for
// a moment.
async function isSoon(isSo: () => Promise<boolean>): Promise<boolean> {
  const end = performance.now() + OTHERS_MS + SPREAD_MS * Math.random();
  for (let seen = 0; performance.now() < end; ) {
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS * (0.5 + Math.random())));
    seen = (await isSo()) ? seen + 1 : 0;
    if (seen === 2) return true;
  }
  return false;
}
