/**
 * Replies on their way back: those of one turn to one requester travel together, if it takes that. No reply goes to an address
 * that costs the connection.
 */

import { isDirectReplyTo } from "../../protocol/address.ts";
import { batchableLength, batchReplies, withBatchLimit } from "../../protocol/batch.ts";
import type { Message } from "../../protocol/message.ts";
import type { AmqpClient } from "../amqp-client.ts";
import type { Batching, Settled } from "../transport.ts";
import type { BatchCensus } from "./batch-census.ts";
import type { AdaptiveBatchLimit } from "./batch-limit.ts";
import { TurnBuffer } from "./turn-buffer.ts";

/** The parts that a reply batcher works with. */
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

/** A requester that takes gathered replies. */
interface Requester {
  readonly buffer: TurnBuffer<BatchedReply>;
  /** Says by what it has asked how many calls it may send in one message; `undefined` if it has not. */
  asks: "by a call" | "by a batch" | undefined;
  /** The number that it was told last, and when, on the monotonic clock. */
  takes: number;
  toldAt: number;
}

/**
 * For how long a caller may still send batches after it was told that they are welcome: for as long as it believes that
 * (half a second, by the protocol), and for what is on its way meanwhile.
 */
const BELIEVED_MS = 1_000;
/** For how long a requester whose batches ask is not told the same again. */
const TOLD_MS = 100;
const MOST_REPLIES = 64;
const MOST_REQUESTERS = 4_096;

/** Sends replies, each by itself or several together. */
export class ReplyBatcher {
  readonly #parts: ReplyBatcherDependencies;
  readonly #requesters = new Map<string, Requester>();
  /** How many replies wait for the end of their turn. Only this class writes it. */
  waiting = 0;
  /** When it was last said that batches are welcome. */
  #welcomedAt = Number.NEGATIVE_INFINITY;
  #leaving: { readonly done: Promise<void>; end(): void } | undefined;

  constructor(parts: ReplyBatcherDependencies) {
    this.#parts = parts;
  }

  /** A call said that its sender takes gathered replies, and wants to know how many calls it may send in one message. */
  heard(replyTo: string): void {
    if (this.#parts.batching.maxCalls === 1) return;
    const requester = this.#requesters.get(replyTo) ?? this.#requesterAt(replyTo);
    requester.asks = "by a call";
  }

  /** A batch asks by itself. Few of their answers need a header for that. */
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

  /** Says from now on that calls are to come one by one. Resolves when no caller believes otherwise. */
  leave(): Promise<void> {
    const leftMs = this.#welcomedAt + BELIEVED_MS - performance.now();
    this.#leaving ??= leftMs > 0 ? pauseOf(leftMs) : { done: Promise.resolve(), end: () => undefined };
    return this.#leaving.done;
  }

  /** Sends what waits for the end of its turn, and waits for nobody any more. */
  close(): void {
    this.#leaving?.end();
    if (this.waiting === 0) return;
    for (const { buffer } of this.#requesters.values()) buffer.flush();
  }

  #requesterAt(replyTo: string): Requester {
    // The oldest goes; if it is still there, it asks again.
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
      // Together they were too large for the broker, which need not be so for each.
      for (const each of replies) this.#post(to, each.message, each.failed);
    });
  }

  #post(to: string, message: Message, failed: Settled | undefined): void {
    const { connection, directReturns } = this.#parts;
    if (directReturns.mayAnswer(to)) connection.client?.post(to, message, failed);
  }

  // Says how many calls are welcome, if that was asked.
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

/** RabbitMQ ends a connection at once. */
const PROMPT_MS = 1_000;
/** A connection that stood for so long says that the loss before it had another cause. */
const STEADY_MS = 5_000;
/** The first may have had another cause. The acknowledgement of the call was lost with each, so the broker delivers it again. */
const MOST_LOSSES = 2;
/** Each caller has an address of its own. Those that were written to last are the ones in question. */
const MOST_ADDRESSES = 1_000;

/**
 * Finds addresses that are not to be answered any more. RabbitMQ does not say which message it ended a connection for, and a
 * call whose acknowledgement was lost with it comes again: without a bound, one forged address would cost connections for ever.
 */
export class DirectReturns {
  readonly #writtenAt = new Map<string, number>();
  #losses = new Map<string, number>();
  #beganAt = Number.NEGATIVE_INFINITY;

  /** Notes that a connection is there. */
  began(now: number = performance.now()): void {
    this.#beganAt = now;
  }

  /** Notes that an answer is about to be written. @returns whether it may be. */
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

  /** Notes that the connection is gone. */
  lost(now: number = performance.now()): void {
    if (now - this.#beganAt >= STEADY_MS) this.#losses.clear();
    // Addresses that are in doubt already are not written to, and stay so.
    const losses = new Map([...this.#losses].filter(([, count]) => count >= MOST_LOSSES));
    for (const [to, writtenAt] of this.#writtenAt)
      if (now - writtenAt < PROMPT_MS) losses.set(to, (this.#losses.get(to) ?? 0) + 1);
    this.#losses = losses;
    this.#writtenAt.clear();
  }
}
