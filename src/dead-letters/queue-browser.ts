/**
 * Looking through a queue without taking anything out: what is looked at is held unacknowledged, and goes back, in its
 * order, when the consumers that hold it are closed. Single messages are not requeued, since RabbitMQ counts that in
 * one version and loops for ever in another.
 *
 * RabbitMQ counts also what goes back by itself, and where an operator's policy sets a `delivery-limit`, it throws away what came
 * back more often than that. So what came back before does not go back again: a copy of it is published, whose count begins
 * anew, and it is acknowledged when the broker has confirmed the copy.
 */

import { onAbort, untilAborted, waitAtMost, withinMs } from "../async/abort.ts";
import { ConfluoError, isConfluoError } from "../errors.ts";
import type { Message } from "../protocol/message.ts";
import type { AmqpClient, AmqpDelivery, Consumer, QueueInfo, Route } from "../transport/amqp-client.ts";
import { returnsOf } from "./exact-copy.ts";

/** RabbitMQ's cap on what one consumer of a quorum queue may hold. */
export const MOST_PER_CONSUMER = 2_000;
/** The most that one walk holds. */
export const MOST_HELD = 20_000;

const IDLE_MS = 500;
/** How long a walk waits at its end for the consumers that it asked for, and for its copies. */
const SETTLE_MS = 5_000;
const RETURN_MS = 1_000;
const END_MS = 10_000;
const LONGEST_PAUSE_MS = 50;

/**
 * The longest queue that keeps its order when some of it came back before: then all of it is copied, so that the copies, which go
 * to the end, end up in the order in which their letters were. Of longer ones, what came back before moves behind the rest.
 */
const MOST_COPIED = 2_000;

/** `stays`: it goes back in the end. `enough`: so does it, and no other is looked at. A promise: it leaves when that resolves. */
export type Decision = "stays" | "enough" | Promise<void>;

/** The queue to look at, and what to do with its messages. */
export interface BrowseRequest {
  readonly queue: string;
  /** How many the first consumer may hold: what may be under way at a time. */
  readonly prefetch: number;
  /** Decides on one delivery. What it throws, or its promise rejects with, ends the walk. */
  visit(delivery: AmqpDelivery): Decision;
  /** The copy to put back for a message that may not go back by itself; `undefined` if there can be none. */
  copy(delivery: AmqpDelivery): { readonly route: Route; readonly message: Message } | undefined;
  /** Returns whether it is a copy that this walk has put back. */
  isCopy(delivery: AmqpDelivery): boolean;
}

/**
 * Looks at the messages of a queue, the oldest first: at no more than there are at the beginning, so that what comes
 * meanwhile cannot keep it going. Whoever else holds some of them is not waited for. No queue is an empty one.
 *
 * @throws what `visit` throws, or the signal's reason; what had not left by then is back in the queue.
 */
export async function browseQueue(
  client: AmqpClient,
  plan: BrowseRequest,
  signal: AbortSignal,
): Promise<void> {
  const info = await untilAborted(inspect(client, plan.queue), signal);
  const ready = info === "unknown" ? MOST_HELD : (info?.messages ?? 0);
  if (ready === 0) return;
  const going = new QueueBrowser(client, plan, ready);
  try {
    await going.run(signal);
  } finally {
    // A broker that does not answer must not hold its end.
    await waitAtMost(END_MS, going.end());
  }
}

// A user that may consume from a queue may not be allowed to look how much is in it.
async function inspect(client: AmqpClient, queue: string): Promise<QueueInfo | "unknown" | undefined> {
  try {
    return await client.inspectQueue(queue);
  } catch (error) {
    if (isConfluoError(error, "ACCESS_REFUSED")) return "unknown";
    throw error;
  }
}

/** One consumer's share. */
interface BrowseConsumer {
  /** Delivered and not acknowledged. */
  held: number;
  /** Of these, those that stay. */
  kept: number;
}

class QueueBrowser {
  readonly #client: AmqpClient;
  readonly #plan: BrowseRequest;
  readonly #bound: number;
  readonly #shares: BrowseConsumer[] = [];
  /** The consumers of the shares, also those that the walk was broken off waiting for: they may have been given something. */
  readonly #consuming: Promise<Consumer>[] = [];
  readonly #leaving = new Set<Promise<void>>();
  /** Copies that are not confirmed yet. */
  readonly #copying = new Set<Promise<void>>();
  /** Acknowledges what there is a confirmed copy of, once that makes no room for what is not to be looked at. */
  readonly #replaced: (() => void)[] = [];
  #copies = 0;
  #mayCopy = true;
  /** True if all that stays is copied. */
  #copiesAll = false;
  /** How many the consumers may have been given. */
  #granted = 0;
  #seen = 0;
  #kept = 0;
  #over = false;
  #failure: { readonly error: unknown } | undefined;
  #wake: () => void = () => undefined;

  constructor(client: AmqpClient, plan: BrowseRequest, bound: number) {
    this.#client = client;
    this.#plan = plan;
    this.#bound = bound;
  }

  async run(signal: AbortSignal): Promise<void> {
    let { prefetch } = this.#plan;
    while (this.#granted < this.#bound && this.#kept < MOST_HELD) {
      if (!(await this.#share(Math.min(prefetch, this.#bound - this.#granted), signal))) break;
      prefetch = Math.min(MOST_PER_CONSUMER, MOST_HELD - this.#kept);
    }
    while (this.#leaving.size > 0) {
      signal.throwIfAborted();
      await this.#change(signal, undefined);
    }
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Messages that are held go back, one consumer's share after the other, so that the order stays. */
  async end(): Promise<void> {
    this.#over = true;
    // Confirmed ones are acknowledged while they still can be.
    await settled(this.#leaving, RETURN_MS);
    const begun = await settled(this.#consuming, SETTLE_MS);
    // First of all, or the next would be given what the one before gives back.
    await Promise.all(begun.map((consumer) => consumer?.cancel()));
    await settled(this.#copying, SETTLE_MS);
    for (const acknowledge of this.#replaced.splice(0)) acknowledge();
    const deadline = performance.now() + RETURN_MS;
    let back = this.#copies;
    for (const [index, { held }] of this.#shares.entries()) {
      await begun[index]?.close();
      back += held;
      await this.#returned(back, deadline);
    }
  }

  // One consumer, until it is full of what stays. Resolves with whether there is more to look at.
  async #share(prefetch: number, signal: AbortSignal): Promise<boolean> {
    const { queue } = this.#plan;
    const share: BrowseConsumer = { held: 0, kept: 0 };
    this.#shares.push(share);
    this.#granted += prefetch;
    const consuming = this.#client.consume({
      queue,
      prefetch,
      onDelivery: (delivery) => this.#take(share, delivery),
      onCancelled: (reason) => this.#fail(reason),
    });
    this.#consuming.push(consuming);
    await untilAborted(consuming, signal);
    for (;;) {
      signal.throwIfAborted();
      if (this.#over || this.#seen >= this.#bound) return false;
      if (share.kept >= prefetch) return true;
      if (await this.#change(signal, IDLE_MS)) continue;
      if (share.held >= prefetch) continue; // it has no room before some have left
      const { held } = share;
      const info = await untilAborted(inspect(this.#client, queue), signal);
      if (info === "unknown") return false;
      if (info === undefined) throw new ConfluoError("UNAVAILABLE", `The queue ${queue} was deleted.`);
      // Messages that are ready will be delivered; those that are neither ready nor here are with someone else.
      if (info.messages === 0 && share.held === held) return false;
    }
  }

  #take(share: BrowseConsumer, delivery: AmqpDelivery): void {
    share.held += 1;
    const isWorn = returnsOf(delivery) > 0;
    // Copies are behind all that there was.
    if (this.#copies > 0 && this.#plan.isCopy(delivery)) this.#finish();
    if (this.#over || this.#seen >= this.#bound) {
      if (isWorn) this.#replace(share, delivery);
      return;
    }
    // Messages that came back are delivered first.
    if (this.#seen === 0) this.#copiesAll = isWorn && this.#bound <= MOST_COPIED;
    this.#seen += 1;
    let verdict: Decision;
    try {
      verdict = this.#plan.visit(delivery);
    } catch (error) {
      this.#fail(error);
      verdict = "stays";
    }
    if (typeof verdict !== "string") this.#leave(share, delivery, verdict);
    else {
      share.kept += 1;
      this.#kept += 1;
      if (verdict === "enough" && !this.#copiesAll) this.#over = true;
      if (isWorn || this.#copiesAll) this.#replace(share, delivery);
    }
    this.#wake();
  }

  #leave(share: BrowseConsumer, delivery: AmqpDelivery, left: Promise<void>): void {
    const leaving = left.then(
      () => this.#acknowledge(share, delivery),
      (error: unknown) => {
        this.#fail(error);
        if (returnsOf(delivery) > 0) this.#replace(share, delivery);
      },
    );
    this.#leaving.add(leaving);
    void leaving.then(() => {
      this.#leaving.delete(leaving);
      this.#wake();
    });
  }

  #acknowledge(share: BrowseConsumer, delivery: AmqpDelivery): void {
    delivery.ack();
    share.held -= 1;
    this.#granted += 1;
  }

  // A message that cannot be copied goes back by itself, as it would without a limit.
  #replace(share: BrowseConsumer, delivery: AmqpDelivery): void {
    const copy = this.#mayCopy ? this.#plan.copy(delivery) : undefined;
    if (copy === undefined) return;
    const copying = new Promise<void>((resolve) => {
      this.#client.publish(copy.route, copy.message, (failure) => {
        // It would be refused again, at the price of a channel.
        if (failure === "forbidden") this.#mayCopy = false;
        if (failure === undefined) {
          this.#copies += 1;
          this.#replaced.push(() => {
            share.kept -= 1;
            this.#acknowledge(share, delivery);
          });
        }
        resolve();
      });
    });
    this.#copying.add(copying);
    void copying.then(() => {
      this.#copying.delete(copying);
      // Room that is made otherwise would be taken by what then goes back before the others.
      if (this.#copiesAll && !this.#over && this.#granted < this.#bound) this.#replaced.shift()?.();
      this.#wake();
    });
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.#finish();
  }

  #finish(): void {
    this.#over = true;
    this.#wake();
  }

  // Resolves with whether anything happened within a time.
  #change(signal: AbortSignal, withinMs: number | undefined): Promise<boolean> {
    return new Promise((resolve) => {
      const end = (happened: boolean): void => {
        clearTimeout(timer);
        stopListening();
        this.#wake = () => undefined;
        resolve(happened);
      };
      const timer = withinMs === undefined ? undefined : setTimeout(() => end(false), withinMs);
      const stopListening = onAbort(signal, () => end(true));
      this.#wake = () => end(true);
    });
  }

  // A closed channel's messages go back a moment later: whoever looks next should find them.
  async #returned(count: number, deadline: number): Promise<void> {
    const { queue } = this.#plan;
    for (let pauseMs = 1; count > 0; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
      const info = await inspect(this.#client, queue);
      if (info === undefined || info === "unknown" || info.messages >= count || performance.now() > deadline)
        return;
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }
}

// Returns what became of each within a time: its value, or `undefined` if it failed or took too long.
function settled<Value>(work: Iterable<Promise<Value>>, ms: number): Promise<(Value | undefined)[]> {
  const each = (one: Promise<Value>): Promise<Value | undefined> =>
    withinMs(ms, one, () => undefined).catch(() => undefined);
  return Promise.all(Array.from(work, each));
}
