/**
 * The part of AMQP 0-9-1, as RabbitMQ speaks it, that confluo stands on. The embedded broker and amqplib each
 * implement it; `session/`, `queues/` and `delivery/` build a service's place at the broker on it, once for both.
 *
 * Promises reject with a `ConfluoError`: `TOPOLOGY_CONFLICT`, `ACCESS_REFUSED`, `CONNECTION_LOST` and so on.
 */

import type { Gate } from "../async/gate.ts";
import type { ConfluoError } from "../errors.ts";
import type { Message } from "../protocol/message.ts";

/** Queue and exchange arguments: RabbitMQ's names, such as `x-queue-type`. */
export type QueueArguments = Readonly<Record<string, string | number | boolean>>;

/** An exchange to declare. Always durable. */
export interface ExchangeSpec {
  readonly name: string;
  readonly type: "direct" | "topic" | "fanout";
  readonly arguments?: QueueArguments;
}

/**
 * A queue to declare. Shared queues are durable; exclusive ones are named by the broker and go with their last consumer,
 * at the latest with the connection.
 */
export interface QueueSpec {
  /** Empty for an exclusive queue: the broker names it. */
  readonly name: string;
  readonly exclusive?: true;
  readonly arguments: QueueArguments;
}

/** Something durable to declare, or to bind. */
export type TopologyRequest =
  | ({ readonly kind: "exchange" } & ExchangeSpec)
  | { readonly kind: "queue"; readonly name: string; readonly arguments: QueueArguments }
  | { readonly kind: "binding"; readonly queue: string; readonly exchange: string; readonly key: string };

/** Where a message is published. */
export interface Route {
  /** Empty for the default exchange, where the key is a queue's name. */
  readonly exchange: string;
  readonly key: string;
}

/**
 * The reason why a confirmed publish was not taken: `returned`, mandatory and no queue for it; `refused`,
 * the broker's nack; `too-large`, over the broker's limit; `lost`, the connection or channel broke before the confirm; `invalid`,
 * it cannot be written; `forbidden`, a right is missing.
 */
export type PublishFailure = "returned" | "refused" | "too-large" | "lost" | "invalid" | "forbidden";

/** Told once what became of a publish: nothing, if it was taken. `why` has the reason where more is known than its kind. */
export type PublishSettled = (failure?: PublishFailure, why?: ConfluoError) => void;

/**
 * How far the broker has come with a delivery. `held`: its channel stands, so the message is given to nobody else.
 * `released`: the broker has taken the acknowledgement, so the message does not come again. `lost`: the channel is gone
 * before that was known, so the message comes again, unless the acknowledgement arrived all the same.
 */
export type Hold = "held" | "released" | "lost";

/** One message received by a consumer. Settling it a second time, or after the connection is gone, does nothing. */
export interface AmqpDelivery {
  readonly message: Message;
  /** The queue that it was consumed from. */
  readonly queue: string;
  /** The exchange it was published to; empty for the default exchange and after some dead-letter hops. */
  readonly exchange: string;
  readonly key: string;
  /** Set for whatever was delivered to anyone before, started or not. */
  readonly redelivered: boolean;
  readonly hold: Hold;
  /** The header table as AMQP has it, which says of which type each value is. Of a connection that was opened to keep it. */
  readonly headerBytes?: Uint8Array | undefined;
  ack(): void;
  /**
   * Resolves when the broker has taken all acknowledgements made so far, or the channel is gone. Never rejects. Absent where
   * it takes them at once.
   */
  acksTaken?(): Promise<void>;
  /** Back to the queue, with `basic.reject`: it counts as a delivery on every version. */
  requeue(): void;
  /**
   * Of one that came with others: tells its sender to send it again by itself. Resolves with whether the broker has taken
   * that.
   */
  bounce?(): Promise<boolean>;
}

/** How to consume. */
export interface ConsumeOptions {
  readonly queue: string;
  /** Unacknowledged deliveries allowed at a time, or `"no-ack"`: settled on delivery, without a bound. */
  readonly prefetch: number | "no-ack";
  /** Called once per message, in order. Must not throw. */
  readonly onDelivery: (delivery: AmqpDelivery) => void;
  /**
   * Returns whether answers wait to be sent: acknowledgements wait with them, since a process that ends in between must not
   * leave a call behind that is acknowledged and never answered. Default: none wait.
   */
  readonly hasWaitingAnswers?: (() => boolean) | undefined;
  /**
   * The broker ended this consumer (queue deleted, node gone, channel closed); the connection may still stand. Of one that ends
   * before it is granted, only the promise rejects.
   */
  readonly onCancelled: (reason: ConfluoError) => void;
}

/** A running consumer. */
export interface Consumer {
  /**
   * Allows so many unacknowledged deliveries from now on; never fewer than at its start, and no matter if it takes none. It
   * may take a moment, and while less is asked for than before, what was handed out stays so. Without effect on `"no-ack"`.
   * For classic queues only: a quorum queue takes back, marked, what is on its way while less is allowed.
   */
  allow?(deliveries: number): void;
  /** Ends consuming. Deliveries already made can still be settled. Resolves when no more will come. */
  cancel(): Promise<void>;
  /** Ends consuming and gives what is unsettled back to the queue. */
  close(): Promise<void>;
}

/** Depth of a queue. */
export interface QueueInfo {
  /** Messages ready to be delivered; those delivered and not yet settled are not counted. */
  readonly messages: number;
  readonly consumers: number;
}

/** The description that a broker gives of itself. */
export interface ServerInfo {
  /** Such as `RabbitMQ`; empty if it does not say. */
  readonly product: string;
  readonly version: string;
  /** Names of the AMQP extensions that it has, such as `publisher_confirms`. */
  readonly capabilities: readonly string[];
}

/** A connection to a broker. Once {@link AmqpClient.lost} has settled, everything on it fails with `CONNECTION_LOST`. */
export interface AmqpClient {
  readonly server: ServerInfo;
  /** The most that the properties of a message may take, in bytes, as was negotiated: one with more is `invalid`. */
  readonly mostPropertyBytes: number;
  /** Declaring what exists with equal arguments is fine; with others it is `TOPOLOGY_CONFLICT`. */
  declareExchange(spec: ExchangeSpec): Promise<void>;
  /** Compares nothing. Later brokers answer those alone who have a right on it; to others it is `ACCESS_REFUSED`. */
  hasExchange(name: string): Promise<boolean>;
  /** @returns the queue's name, which the broker chose if the spec has none. */
  declareQueue(spec: QueueSpec): Promise<string>;
  bind(queue: string, exchange: string, key: string): Promise<void>;
  unbind(queue: string, exchange: string, key: string): Promise<void>;
  /**
   * Declares and binds many things, in their order, for one answer. Rejects with the first refusal: what comes before it
   * stands, what comes after it does not. Absent where nothing is gained by it.
   */
  request?(requests: readonly TopologyRequest[]): Promise<void>;
  /**
   * Also if there is none. `unused`: rejects if anyone consumes from it. `unused and empty`: also if a message waits in it.
   *
   * @returns how many messages went with it.
   */
  deleteQueue(name: string, when?: "unused" | "unused and empty"): Promise<number>;
  /**
   * Resolves with `undefined` when there is no such queue. Later brokers answer those alone who have a right on it; to others it
   * is `ACCESS_REFUSED`, which says nothing of whether it is there.
   */
  inspectQueue(name: string): Promise<QueueInfo | undefined>;

  /**
   * Publishes with a confirm. `settled` is called exactly once: without an argument when the broker has taken
   * responsibility for the message. Publishes are pipelined; confirms come in any order. Never throws.
   */
  publish(route: Route, message: Message, settled: PublishSettled): void;
  /**
   * Publishes to a queue without waiting for anything: replies. Gone if nobody is there. Never throws. `failed` is called,
   * in a later turn, if this message turns out to be too large, or cannot be written.
   */
  post(queue: string, message: Message, failed?: PublishSettled): void;

  /**
   * Opens when the broker takes more; `undefined` while it does. Who waits for it before publishing keeps what waits out
   * of the connection's buffers.
   */
  readonly congestion: Gate | undefined;
  /** Why the broker takes no messages at the moment (a memory or disk alarm), in its own words. */
  readonly blocked: string | undefined;
  /** The right to publish that is missing, in the broker's words, as far as it has said so of late. */
  readonly refused: ConfluoError | undefined;

  consume(options: ConsumeOptions): Promise<Consumer>;

  /** Flushes what was published, then closes. Safe to call twice. */
  close(): Promise<void>;
  /** Resolves once, when the connection is gone: with the reason, or with `undefined` after {@link AmqpClient.close}. */
  readonly lost: Promise<ConfluoError | undefined>;
}
