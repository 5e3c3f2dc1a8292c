/**
 * Looks through a queue without removing its messages. The messages stay unacknowledged, and return to the queue in their order
 * when their consumers are closed. Single messages are not requeued, because RabbitMQ counts that in one version and delivers
 * them again in an endless loop in another.
 *
 * RabbitMQ also counts messages that return when a consumer closes. If an operator's policy sets a `delivery-limit`, RabbitMQ
 * discards a message that has returned more often. So a message that has already returned before is replaced by a copy, whose
 * count starts again at zero; the original is acknowledged once the broker has confirmed the copy.
 */

import { onAbort, untilAborted, waitAtMost, withinMs } from "../async/abort.ts";
import { ConfluoError, isConfluoError } from "../errors.ts";
import type { Message } from "../protocol/message.ts";
import type { AmqpClient, AmqpDelivery, Consumer, QueueInfo, Route } from "../transport/amqp-client.ts";
import { returnsOf } from "./exact-copy.ts";

/** RabbitMQ's limit on the unacknowledged messages of one consumer of a quorum queue. */
export const MOST_PER_CONSUMER = 2_000;
/** Largest number of unacknowledged messages of one walk. */
export const MOST_HELD = 20_000;

const IDLE_MS = 500;
/** Longest wait, at the end of a walk, for consumers that are still being opened, and for copies. */
const SETTLE_MS = 5_000;
const RETURN_MS = 1_000;
const END_MS = 10_000;
const LONGEST_PAUSE_MS = 50;

/**
 * Longest queue that keeps its order if some of its messages have returned before. Then all of its messages are copied; the
 * copies go to the end of the queue and so keep their order. In a longer queue, the messages that returned before move behind
 * the rest.
 */
const MOST_COPIED = 2_000;

/**
 * The decision on a message. `stays`: it returns to the queue. `enough`: it returns, and the walk ends. A promise: the message
 * is removed when the promise resolves.
 */
export type Decision = "stays" | "enough" | Promise<void>;

/** The queue to look through, and what to do with its messages. */
export interface BrowseRequest {
  readonly queue: string;
  /** Prefetch of the first consumer, which limits the messages under way at a time. */
  readonly prefetch: number;
  /** Decides on one delivery. If it throws, or its promise rejects, the walk ends with that error. */
  visit(delivery: AmqpDelivery): Decision;
  /** Returns the copy that replaces a message that must not return by itself; `undefined` if no copy can be made. */
  copy(delivery: AmqpDelivery): { readonly route: Route; readonly message: Message } | undefined;
  /** Returns whether the delivery is a copy that this walk has put back. */
  isCopy(delivery: AmqpDelivery): boolean;
}

/**
 * Looks through the messages of a queue, the oldest first. It visits no more messages than were there at the beginning, so that
 * new messages cannot prolong it. It does not wait for messages that another consumer holds. A queue that does not exist counts
 * as empty.
 *
 * @throws the error of `visit`, or the signal's reason; messages that were not removed by then are back in the queue.
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
    // A broker that does not respond must not prevent the end of the walk.
    await waitAtMost(END_MS, going.end());
  }
}

// A user that may consume from a queue may lack the right to inspect it.
async function inspect(client: AmqpClient, queue: string): Promise<QueueInfo | "unknown" | undefined> {
  try {
    return await client.inspectQueue(queue);
  } catch (error) {
    if (isConfluoError(error, "ACCESS_REFUSED")) return "unknown";
    throw error;
  }
}

/** The messages of one consumer. */
interface BrowseConsumer {
  /** Number of deliveries that are not acknowledged. */
  held: number;
  /** Number of these that stay in the queue. */
  kept: number;
}

class QueueBrowser {
  readonly #client: AmqpClient;
  readonly #plan: BrowseRequest;
  readonly #bound: number;
  readonly #shares: BrowseConsumer[] = [];
  /** The consumers, including one that was still being opened when the walk ended, because it may have received messages. */
  readonly #consuming: Promise<Consumer>[] = [];
  readonly #leaving = new Set<Promise<void>>();
  /** Copies that are not confirmed yet. */
  readonly #copying = new Set<Promise<void>>();
  /**
   * Functions that acknowledge the originals of confirmed copies. They are called when the room they free no longer leads to
   * further deliveries.
   */
  readonly #replaced: (() => void)[] = [];
  #copies = 0;
  #mayCopy = true;
  /** True if every message that stays is replaced by a copy. */
  #copiesAll = false;
  /** Number of messages that the consumers were allowed to receive. */
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

  /** Returns the unacknowledged messages to the queue, one consumer after the other, so that they keep their order. */
  async end(): Promise<void> {
    this.#over = true;
    // Waits for messages whose removal is confirmed, as long as they can still be acknowledged.
    await settled(this.#leaving, RETURN_MS);
    const begun = await settled(this.#consuming, SETTLE_MS);
    // All consumers are cancelled first; otherwise the next one would receive what the one before returns.
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

  // Runs one consumer until messages that stay fill its prefetch. Resolves with whether there is more to look at.
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
      if (share.held >= prefetch) continue; // its prefetch is exhausted until some of its messages are removed
      const { held } = share;
      const info = await untilAborted(inspect(this.#client, queue), signal);
      if (info === "unknown") return false;
      if (info === undefined) throw new ConfluoError("UNAVAILABLE", `The queue ${queue} was deleted.`);
      // Ready messages will be delivered to this consumer; messages that are neither ready nor here belong to another one.
      if (info.messages === 0 && share.held === held) return false;
    }
  }

  #take(share: BrowseConsumer, delivery: AmqpDelivery): void {
    share.held += 1;
    const isWorn = returnsOf(delivery) > 0;
    // Copies lie behind all original messages, so a copy means that the walk has reached the end.
    if (this.#copies > 0 && this.#plan.isCopy(delivery)) this.#finish();
    if (this.#over || this.#seen >= this.#bound) {
      if (isWorn) this.#replace(share, delivery);
      return;
    }
    // The broker delivers messages that returned before first, so the first delivery shows whether there are any.
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

  // Replaces a message by a copy. A message that cannot be copied returns by itself, as it would without a delivery limit.
  #replace(share: BrowseConsumer, delivery: AmqpDelivery): void {
    const copy = this.#mayCopy ? this.#plan.copy(delivery) : undefined;
    if (copy === undefined) return;
    const copying = new Promise<void>((resolve) => {
      this.#client.publish(copy.route, copy.message, (failure) => {
        // A further copy would be refused, too, and each refusal closes a channel.
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
      // Acknowledges one original at a time. With more room, the broker would deliver messages that then return before the
      // others.
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

  // Resolves with whether anything changed within a time.
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

  // A closed channel's messages return with a short delay. This waits for them, so that the next walk finds them.
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

// Resolves with the result of each promise; `undefined` if it rejected or took longer than a time.
function settled<Value>(work: Iterable<Promise<Value>>, ms: number): Promise<(Value | undefined)[]> {
  const each = (one: Promise<Value>): Promise<Value | undefined> =>
    withinMs(ms, one, () => undefined).catch(() => undefined);
  return Promise.all(Array.from(work, each));
}
