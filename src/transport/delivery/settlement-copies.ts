/**
 * The copies that settle a delivery: messages that wait for their next try, that are put aside or given back, and dead letters.
 * They are published in its place, before it is acknowledged.
 */

import { storyOf } from "../../causes.ts";
import { header, protocolHeader } from "../../protocol/codec.ts";
import { type DelayedRetry, type Original, republished, waitHeaders } from "../../protocol/envelope.ts";
import type { Message } from "../../protocol/message.ts";
import type { Failure } from "../../retry/outcome.ts";
import type { AmqpClient, AmqpDelivery } from "../amqp-client.ts";
import type { SessionLevels } from "../queues/delay-levels.ts";
import type { SessionConnection } from "../session/connection-slot.ts";

/** The failure that a copy describes. */
interface FailedCopy {
  readonly failure: Failure;
  /** The queue that the message came from. */
  readonly queue: string;
  /** The instance that it failed in. */
  readonly instance: string;
  /** The number of the next try. */
  readonly attempt: number;
  /** The wait before the next try; absent for a dead letter. */
  readonly wait?: DelayedRetry;
}

/**
 * Copies a message that failed, with a description of its last failure and the time of the first. `most` limits its properties,
 * in bytes.
 */
export function failedCopy(
  { message: original, envelope }: Original,
  { failure, queue, instance, attempt, wait }: FailedCopy,
  most: number | undefined,
): Message {
  const waiting = wait === undefined ? {} : waitHeaders(wait);
  const { name, code, message, stack } = storyOf(failure.error);
  const now = new Date().toISOString();
  const firstFailedAt = protocolHeader(original.properties.headers, header.firstFailedAt) ?? now;
  const headers = {
    ...waiting,
    ...(failure.subscription === undefined ? {} : { [header.subscription]: failure.subscription }),
    [header.error]: code,
    [header.errorName]: name,
    [header.errorMessage]: message,
    [header.errorStack]: stack,
    [header.firstFailedAt]: firstFailedAt,
    [header.failedAt]: now,
    [header.queue]: queue,
    [header.instance]: instance,
  };
  return republished(original, { ...envelope, attempt }, headers, most);
}

/** The pause before copies are published again, in milliseconds; it doubles up to the second value. */
const FIRST_AGAIN_MS = 1_000;
const LAST_AGAIN_MS = 8_000;

/** A copy of a message, with its destination. */
export interface AddressedCopy {
  readonly exchange: string;
  readonly key: string;
  readonly message: Message;
  /** The pass through the delay queues that it begins; absent if it does not wait. */
  readonly quarters?: number;
}

/** Makes a copy; returns `undefined` if there is nothing to publish. */
export type CopyMaker = () => AddressedCopy | undefined;

/** The delivery that the copies replace. */
interface ReplacedDelivery {
  /** The client that it came over. */
  readonly client: AmqpClient | undefined;
  readonly received: AmqpDelivery;
}

/** The receiving side of a session, as the copies see it. */
export interface CopyDependencies {
  readonly connection: Pick<SessionConnection, "client" | "warn">;
  /** True while the session is being closed. Then no new copy is published. */
  readonly isClosing: boolean;
  /** The delay levels that copies go to. */
  readonly levels: Pick<SessionLevels, "use">;
  /**
   * The copies that the broker has not confirmed yet; each promise settles with its confirm. Their originals must not be
   * requeued before.
   */
  readonly copies: Set<Promise<unknown>>;
  /** Declares the exchanges and queues that copies go to again, because someone may have deleted them. */
  declareMoves(): Promise<void>;
}

/** Returns whether a client is still the one in use, and the session is not being closed. */
export function isCurrent(
  client: AmqpClient | undefined,
  { connection, isClosing }: Pick<CopyDependencies, "connection" | "isClosing">,
): boolean {
  return client !== undefined && !isClosing && connection.client === client;
}

/** Publishes the copies of one delivery. */
export class CopyPublisher {
  readonly #receiver: CopyDependencies;
  readonly #client: AmqpClient | undefined;
  readonly #received: AmqpDelivery;

  constructor(receiver: CopyDependencies, { client, received }: ReplacedDelivery) {
    this.#receiver = receiver;
    this.#client = client;
    this.#received = received;
  }

  /**
   * Publishes the copies, and acknowledges the original once they are confirmed. Tries again until that is done or the connection
   * is lost, because a requeued original would run its handler again, or look like the loss of an instance. Each attempt makes
   * its copies again, because some contain the time that is left.
   *
   * @returns whether the original is acknowledged.
   */
  async publishThenAck(copies: readonly CopyMaker[]): Promise<boolean> {
    let left = copies;
    for (let waitMs = FIRST_AGAIN_MS; this.#standing; waitMs = Math.min(2 * waitMs, LAST_AGAIN_MS)) {
      const posting = Promise.allSettled(left.map((copy) => this.#post(copy())));
      this.#receiver.copies.add(posting);
      const posted = await posting;
      const isPublished = posted.every(({ status }) => status === "fulfilled");
      // Also while the session is closing: `endCopies` waits for this, since the broker would otherwise redeliver the original
      // beside its copy. The acknowledgement must be made in this turn, before that wait ends.
      if (isPublished) this.#received.ack();
      this.#receiver.copies.delete(posting);
      if (isPublished) return true;
      if (!this.#standing) return false;
      left = left.filter((_, n) => posted[n]?.status === "rejected");
      const err = posted.find((result) => result.status === "rejected")?.reason;
      // Logged once, not for each attempt.
      if (waitMs === FIRST_AGAIN_MS) {
        const where = left.map((copy) => nameOf(copy())).join(", ");
        this.#receiver.connection.warn(
          { err },
          `A message did not reach ${where}; it is kept and tried again.`,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, waitMs).unref());
    }
    return false;
  }

  // Returns whether the delivery can still be settled. If its connection or channel is gone, the broker redelivers it.
  get #standing(): boolean {
    return isCurrent(this.#client, this.#receiver) && this.#received.hold !== "lost";
  }

  async #post(moved: AddressedCopy | undefined): Promise<void> {
    if (moved === undefined) return;
    // A copy that needs nothing more is published in this turn.
    const readying = this.#readyFor(moved);
    if (readying !== undefined) await readying;
    if ((await this.#publish(moved)) === undefined) return;
    if (!this.#standing) throw new Error("the connection broke");
    await this.#receiver.declareMoves();
    await this.#readyFor(moved);
    const rejection = await this.#publish(moved);
    if (rejection !== undefined) throw new Error(`the copy was ${rejection}`);
  }

  // Declares the delay queues that a copy needs, if they are not declared yet.
  #readyFor({ quarters }: AddressedCopy): Promise<void> | undefined {
    if (quarters === undefined || this.#client === undefined) return undefined;
    return this.#receiver.levels.use(this.#client, quarters);
  }

  #publish({ exchange, key, message }: AddressedCopy): Promise<string | undefined> {
    return new Promise((resolve) => {
      if (this.#client === undefined || !this.#standing) resolve("lost");
      else
        this.#client.publish({ exchange, key }, message, (failure, why) =>
          resolve(why === undefined ? failure : `${failure} (${why.message})`),
        );
    });
  }
}

function nameOf(moved: AddressedCopy | undefined): string {
  return moved === undefined ? "" : moved.exchange || moved.key;
}
