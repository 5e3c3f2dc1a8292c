/**
 * Sends replies. Those of one turn to one caller travel together, if the caller accepts that. An address that makes the broker
 * close the connection gets no reply.
 */

import { isDirectReplyTo } from "../../protocol/address.ts";
import { batchableLength, batchReplies, withBatchLimit } from "../../protocol/batch.ts";
import type { Message } from "../../protocol/message.ts";
import type { AmqpClient } from "../amqp-client.ts";
import type { Batching, Settled } from "../transport.ts";
import type { BatchCensus } from "./batch-census.ts";
import type { AdaptiveBatchLimit } from "./batch-limit.ts";
import { TurnBuffer } from "./turn-buffer.ts";

/** The parts that a {@link ReplyBatcher} works with. */
export interface ReplyBatcherDependencies {
  readonly service: string;
  readonly batching: Batching;
  readonly limit: Pick<AdaptiveBatchLimit, "answered" | "current">;
  readonly census: Pick<BatchCensus, "allTake">;
  readonly connection: { readonly client: Pick<AmqpClient, "post"> | undefined };
  readonly directReturns: Pick<DirectReturns, "mayAnswer">;
}

interface BatchedReply {
  readonly message: Message;
  readonly failed: Settled | undefined;
}

/** A caller that accepts replies in batches. */
interface Requester {
  readonly buffer: TurnBuffer<BatchedReply>;
  /** The kind of message that asked how many calls the caller may send in one message; `undefined` if none asked. */
  asks: "by a call" | "by a batch" | undefined;
  /** The number that was last reported to the caller. */
  takes: number;
  /** When it was reported, in milliseconds on the monotonic clock. */
  toldAt: number;
}

/**
 * How long a caller may still send batches after a reply said that they are accepted, in milliseconds: it relies on that for
 * half a second, by the protocol, and its last messages take some time.
 */
const BELIEVED_MS = 1_000;
/** How long the same number is not repeated to a caller whose batches ask for it, in milliseconds. */
const TOLD_MS = 100;
const MOST_REPLIES = 64;
const MOST_REQUESTERS = 4_096;

/** Sends replies, each by itself or several in a batch. */
export class ReplyBatcher {
  readonly #parts: ReplyBatcherDependencies;
  readonly #requesters = new Map<string, Requester>();
  /** The number of replies that wait for the end of their turn. Only this class writes this field. */
  waiting = 0;
  /** When a reply last said that batches are accepted, in milliseconds on the monotonic clock. */
  #welcomedAt = Number.NEGATIVE_INFINITY;
  #leaving: { readonly done: Promise<void>; end(): void } | undefined;

  constructor(parts: ReplyBatcherDependencies) {
    this.#parts = parts;
  }

  /** Notes that a call accepts replies in batches, and asks how many calls its sender may send in one message. */
  heard(replyTo: string): void {
    if (this.#parts.batching.maxCalls === 1) return;
    const requester = this.#requesters.get(replyTo) ?? this.#requesterAt(replyTo);
    requester.asks = "by a call";
  }

  /** Notes that a batch came, which asks the same implicitly. Few replies to batches need a header for that. */
  heardByBatch(replyTo: string): void {
    if (this.#parts.batching.maxCalls === 1) return;
    const requester = this.#requesters.get(replyTo) ?? this.#requesterAt(replyTo);
    requester.asks ??= "by a batch";
  }

  reply(to: string, message: Message, failed?: Settled): void {
    const { batching, limit } = this.#parts;
    limit.answered += 1;
    const requester = this.#requesters.get(to);
    if (requester === undefined) {
      this.#post(to, message, failed);
      return;
    }
    const length = batchableLength(message, batching.maxBytes);
    if (length === undefined) this.#post(to, this.#withBatchLimit(requester, message), failed);
    else {
      this.waiting += 1;
      requester.buffer.add({ message, failed }, length, MOST_REPLIES);
    }
  }

  /** Asks callers from now on to send calls one by one. Resolves when no caller relies on an earlier answer any more. */
  leave(): Promise<void> {
    const leftMs = this.#welcomedAt + BELIEVED_MS - performance.now();
    this.#leaving ??= leftMs > 0 ? pauseOf(leftMs) : { done: Promise.resolve(), end: () => undefined };
    return this.#leaving.done;
  }

  /** Sends the replies that wait for the end of their turn, and ends the wait of {@link leave}. */
  close(): void {
    this.#leaving?.end();
    if (this.waiting === 0) return;
    for (const { buffer } of this.#requesters.values()) buffer.flush();
  }

  #requesterAt(replyTo: string): Requester {
    // The oldest caller is forgotten. If it still exists, it asks again.
    for (const known of this.#requesters.keys()) {
      if (this.#requesters.size < MOST_REQUESTERS) break;
      this.#requesters.get(known)?.buffer.flush();
      this.#requesters.delete(known);
    }
    const { maxBytes, isEager } = this.#parts.batching;
    const buffer = new TurnBuffer<BatchedReply>({
      bytes: maxBytes,
      isEager,
      send: (replies) => this.#send(replyTo, requester, replies),
    });
    const requester: Requester = { buffer, asks: undefined, takes: 0, toldAt: 0 };
    this.#requesters.set(replyTo, requester);
    return requester;
  }

  #send(to: string, requester: Requester, replies: readonly [BatchedReply, ...BatchedReply[]]): void {
    const [{ message, failed }] = replies;
    this.waiting -= replies.length;
    if (replies.length === 1 && !this.#parts.batching.isEager) {
      this.#post(to, this.#withBatchLimit(requester, message), failed);
      return;
    }
    const together = batchReplies(replies.map((reply) => reply.message));
    this.#post(to, this.#withBatchLimit(requester, together), () => {
      // The batch was too large for the broker, or one of its replies cannot be encoded. Each reply by itself may be fine.
      for (const each of replies) this.#post(to, each.message, each.failed);
    });
  }

  #post(to: string, message: Message, failed: Settled | undefined): void {
    const { connection, directReturns } = this.#parts;
    if (directReturns.mayAnswer(to)) connection.client?.post(to, message, failed);
  }

  // Adds how many calls the caller may send in one message, if it asked for that.
  #withBatchLimit(requester: Requester, message: Message): Message {
    const { asks } = requester;
    if (asks === undefined) return message;
    requester.asks = undefined;
    const { service, limit, census } = this.#parts;
    const takes = this.#leaving === undefined && census.allTake ? limit.current : 1;
    const now = performance.now();
    if (asks === "by a batch" && takes === requester.takes && now - requester.toldAt < TOLD_MS)
      return message;
    requester.takes = takes;
    requester.toldAt = now;
    if (takes > 1) this.#welcomedAt = now;
    const { properties, ...rest } = withBatchLimit(message, takes);
    return { ...rest, properties: { ...properties, appId: service } };
  }
}

function pauseOf(ms: number): { readonly done: Promise<void>; end(): void } {
  let end: () => void = () => undefined;
  const done = new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, ms);
    end = () => {
      clearTimeout(timer);
      resolve();
    };
  });
  return { done, end };
}

/**
 * The time between an answer and the loss of the connection, in milliseconds, in which that answer may be the cause: RabbitMQ
 * closes the connection at once.
 */
const PROMPT_MS = 1_000;
/** A connection that lasted this long, in milliseconds, shows that the loss before it had another cause. */
const STEADY_MS = 5_000;
/**
 * How many connections in a row may be lost right after an answer to an address. The first loss may have another cause. The
 * broker redelivers the call after each, because its acknowledgement is lost with the connection.
 */
const MOST_LOSSES = 2;
/**
 * The number of addresses that are remembered. Each caller has its own, and those that were answered last are the likely cause.
 */
const MOST_ADDRESSES = 1_000;

/**
 * Finds direct reply-to addresses that must not be answered any more. RabbitMQ closes the connection on which an answer to a
 * forged address is published, and does not report which one it was. The call is redelivered, since its acknowledgement is lost
 * with the connection. Without a limit, one forged address would cost one connection after the other.
 */
export class DirectReturns {
  readonly #writtenAt = new Map<string, number>();
  #losses = new Map<string, number>();
  #beganAt = Number.NEGATIVE_INFINITY;

  /** Notes that a connection was opened. */
  began(now: number = performance.now()): void {
    this.#beganAt = now;
  }

  /** Notes that an answer is about to be published. Returns whether it may be. */
  mayAnswer(to: string, now: number = performance.now()): boolean {
    if (!isDirectReplyTo(to)) return true;
    if ((this.#losses.get(to) ?? 0) >= MOST_LOSSES) return false;
    this.#writtenAt.delete(to);
    this.#writtenAt.set(to, now);
    if (this.#writtenAt.size > MOST_ADDRESSES)
      for (const [oldest] of this.#writtenAt) {
        this.#writtenAt.delete(oldest);
        break;
      }
    return true;
  }

  /** Notes that the connection was lost. */
  lost(now: number = performance.now()): void {
    if (now - this.#beganAt >= STEADY_MS) this.#losses.clear();
    // Addresses over the limit are not answered any more, and keep their count.
    const losses = new Map([...this.#losses].filter(([, count]) => count >= MOST_LOSSES));
    for (const [to, writtenAt] of this.#writtenAt)
      if (now - writtenAt < PROMPT_MS) losses.set(to, (this.#losses.get(to) ?? 0) + 1);
    this.#losses = losses;
    this.#writtenAt.clear();
  }
}
