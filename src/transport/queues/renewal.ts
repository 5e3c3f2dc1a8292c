/**
 * Queues for calls that may have lost their marks. When a node of RabbitMQ before 4.3 stops in order while transient messages
 * wait in a durable classic queue, that queue may never mark a message as redelivered again, until it is made anew. No client can see that. So
 * the first instance that comes, or comes back after a stop of the broker, deletes the queues and declares them again, before
 * anyone consumes them.
 */

import { waitAtMost } from "../../async/abort.ts";
import { isConfluoError } from "../../errors.ts";
import type { DeclaredQueue } from "../../protocol/topology.ts";
import type { AmqpClient, AmqpDelivery, Consumer, ServerInfo } from "../amqp-client.ts";
import { declare } from "./declare.ts";

/** Calls that wait in a queue while it is made anew. */
export interface WaitingCalls {
  /** Takes a call in hand. @returns what publishes it to its queue again, and never rejects. */
  hold(delivery: AmqpDelivery): () => unknown;
  /** Returns whether calls can be published again: not once the session is being closed. */
  canReturn(): boolean;
}

/** The queues of a service for calls. */
export interface CallQueues extends WaitingCalls {
  readonly calls: DeclaredQueue;
  readonly batches: DeclaredQueue;
  /** Its consumers tell others that somebody is at work. */
  readonly again: DeclaredQueue;
  /** Consumes `again`. */
  giveSign(): Promise<void>;
  /** Returns whether it is consumed here. */
  isSignGiven(): boolean;
}

const ATTEMPTS = 16;
/** How many calls are taken in hand at a time. */
const PORTION = 128;
/** The most that is in hand, in bytes of bodies, before another portion is taken: with more than that the queue stays as it is. */
const MOST_BYTES = 32 * 2 ** 20;
/** How long calls that were counted may take to arrive: they may have expired since. */
const ARRIVE_MS = 200;
const PAUSE_MS = 40;
const OTHERS_MS = 200;
const SPREAD_MS = 300;

/** Returns whether the queues of a broker may lose their marks: those of RabbitMQ before 4.3. */
export function losesMarks({ product, version }: ServerInfo): boolean {
  return product === "RabbitMQ" && /^(?:[0-3]|4\.[0-2])\./.test(version);
}

/**
 * Makes queues for calls anew, where nobody has been seen to consume `calls`. Of several instances that come together, one does
 * it.
 */
export async function renewCallQueues(client: AmqpClient, queues: CallQueues): Promise<void> {
  const { calls, batches, again } = queues;
  const consumersOf = async ({ name }: DeclaredQueue): Promise<number | undefined> =>
    (await client.inspectQueue(name))?.consumers;
  await makeAnew(client, again);
  await queues.giveSign();
  const others = ((await consumersOf(again)) ?? 0) - (queues.isSignGiven() ? 1 : 0);
  // If each of two takes the other for the first, the one whose patience ends first is it.
  if (others > 0 && (await isSoon(async () => ((await consumersOf(calls)) ?? 0) > 0))) return;
  await makeAnew(client, batches); // where there is one: other instances may take batches though this one does not
  await makeAnew(client, calls, queues);
}

/**
 * Deletes a queue that nobody consumes, and declares it again. What waits in it goes back into it, if that is known to be
 * possible; else only an empty queue is made anew.
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
      // One with other arguments is refused here, and is not ours to delete.
      if (attempt === 0) await declare(client, plan);
      if (found.messages > 0) {
        if (waiting === undefined || bytesOf(held) > MOST_BYTES) return;
        const taken = await take(client, plan.name, { messages: found.messages, waiting });
        held.push(taken);
        // It still marks what it delivers again.
        if (taken.isMarked) return;
        if (found.messages > PORTION) continue;
      }
      // Then the broker gives them back, with the end of their consumers.
      if (held.length > 0 && waiting?.canReturn() === false) return;
      if (!(await isDeleted(client, plan.name))) continue;
      await declare(client, plan);
      return;
    }
  } finally {
    // A broker that takes nothing at the moment must not hold up whoever consumes.
    if (held.length > 0) void giveBack(held);
  }
}

/** Calls in hand, and the consumer that has them. */
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
      // It returns to its queue with the end of its consumer, still marked.
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

// As copies: where the queue was not deleted after all, what the broker itself delivers again may be marked.
async function giveBack(held: readonly HeldCalls[]): Promise<void> {
  await Promise.allSettled(held.flatMap(({ returns }) => returns.map((returned) => returned())));
  await Promise.allSettled(held.map(({ consumer }) => consumer.close()));
}

// Somebody may have begun to consume it, or a message may have come.
async function isDeleted(client: AmqpClient, queue: string): Promise<boolean> {
  try {
    await client.deleteQueue(queue, "unused and empty");
    return true;
  } catch (error) {
    if (isConfluoError(error, "TOPOLOGY_CONFLICT")) return false;
    throw error;
  }
}

// Twice in a row: whoever takes what waits in hand consumes the queue for a moment, too.
async function isSoon(isSo: () => Promise<boolean>): Promise<boolean> {
  const end = performance.now() + OTHERS_MS + SPREAD_MS * Math.random();
  for (let seen = 0; performance.now() < end; ) {
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS * (0.5 + Math.random())));
    seen = (await isSo()) ? seen + 1 : 0;
    if (seen === 2) return true;
  }
  return false;
}
