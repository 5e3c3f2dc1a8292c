/**
 * The part of AMQP 0-9-1, with RabbitMQ's extensions, that confluo uses. The embedded broker and amqplib each implement it. The
 * folders `session/`, `queues/` and `delivery/` are built on it, once for both.
 *
 * Promises reject with a `ConfluoError`: `TOPOLOGY_CONFLICT`, `ACCESS_REFUSED`, `CONNECTION_LOST` and so on.
 */

import type { Gate } from "../async/gate.ts";
import type { ConfluoError } from "../errors.ts";
import type { Message } from "../protocol/message.ts";

/** The arguments of queues and exchanges, with RabbitMQ's names, such as `x-queue-type`. */
export type QueueArguments = Readonly<Record<string, string | number | boolean>>;

/** An exchange to declare. It is always durable. */
export interface ExchangeSpec {
  readonly name: string;
  readonly type: "direct" | "topic" | "fanout";
  readonly arguments?: QueueArguments;
  /** An exchange to bind to this one: it also gets the messages whose keys match. */
  readonly passesTo?: { readonly exchange: string; readonly key: string };
}

/**
 * A queue to declare. Shared queues are durable. Exclusive queues are named by the broker, and are deleted with their last
 * consumer or with the connection.
 */
export interface QueueSpec {
  /** Empty for an exclusive queue, which the broker names. */
  readonly name: string;
  readonly exclusive?: true;
  readonly arguments: QueueArguments;
}

/** A durable exchange or queue to declare, or a binding to make. */
export type TopologyRequest =
  | ({ readonly kind: "exchange" } & ExchangeSpec)
  | { readonly kind: "queue"; readonly name: string; readonly arguments: QueueArguments }
  | { readonly kind: "binding"; readonly queue: string; readonly exchange: string; readonly key: string };

/** The exchange and routing key that a message is published with. */
export interface Route {
  /** Empty for the default exchange, where the key is the name of a queue. */
  readonly exchange: string;
  readonly key: string;
}

/**
 * The reason why a publish failed. `returned`: it was mandatory and there is no queue for it. `refused`: the broker sent a
 * nack. `too-large`: it exceeds the broker's limit. `lost`: the connection or channel broke before the confirm. `invalid`: the
 * message cannot be encoded. `forbidden`: a right is missing.
 */
export type PublishFailure = "returned" | "refused" | "too-large" | "lost" | "invalid" | "forbidden";

/**
 * Is called once when a publish ends; without arguments if it succeeded. `why` explains the failure, if more is known than its
 * kind.
 */
export type PublishSettled = (failure?: PublishFailure, why?: ConfluoError) => void;

/**
 * The state of a delivery at the broker. `held`: its channel is open, so the broker delivers the message to nobody else.
 * `released`: the broker has taken the acknowledgement, so the message does not come again. `lost`: the channel was closed
 * before that was known, so the message comes again unless its acknowledgement arrived.
 */
export type Hold = "held" | "released" | "lost";

/** One message that a consumer received. Settling it a second time, or after the connection is gone, does nothing. */
export interface AmqpDelivery {
  readonly message: Message;
  /** The queue that it was consumed from. */
  readonly queue: string;
  /** The exchange it was published to; empty for the default exchange and after some dead-letter hops. */
  readonly exchange: string;
  readonly key: string;
  /** True if the broker delivered the message before, to any consumer, whether or not that began to handle it. */
  readonly redelivered: boolean;
  readonly hold: Hold;
  /**
   * The encoded header table, in which AMQP gives the type of each value. Only on a connection that was opened to retain it.
   */
  readonly headerBytes?: Uint8Array | undefined;
  ack(): void;
  /**
   * Resolves when the broker has taken all acknowledgements made so far, or when the channel is gone. Never rejects. Absent if
   * the broker takes them at once.
   */
  acksTaken?(): Promise<void>;
  /** Returns the message to its queue with `basic.reject`, which every version of the broker counts as a delivery. */
  requeue(): void;
  /**
   * Asks the sender to send the message again by itself; only for a message that came in a batch. Resolves with whether the
   * broker has confirmed that request.
   */
  bounce?(): Promise<boolean>;
}

/** The options of a consumer. */
export interface ConsumeOptions {
  readonly queue: string;
  /** The most unacknowledged deliveries at a time, or `"no-ack"`: deliveries are not acknowledged and not limited. */
  readonly prefetch: number | "no-ack";
  /** Called once per message, in order. Must not throw. */
  readonly onDelivery: (delivery: AmqpDelivery) => void;
  /**
   * Returns whether answers wait to be sent. Acknowledgements then wait with them: if the process ended in between, a call
   * would be acknowledged but never answered. Default: none wait.
   */
  readonly hasWaitingAnswers?: (() => boolean) | undefined;
  /**
   * Is called when the broker ended this consumer (queue deleted, node gone, channel closed); the connection may still be open.
   * If consuming ends before it was granted, only the promise rejects.
   */
  readonly onCancelled: (reason: ConfluoError) => void;
}

/** A running consumer. */
export interface Consumer {
  /**
   * Changes the limit on unacknowledged deliveries, but never below the limit at its start. It may take a moment. Messages that
   * are delivered already stay so when the limit is lowered. Has no effect on `"no-ack"` or on an ended consumer. For classic
   * queues only: a quorum queue whose limit is lowered takes back messages on their way, and marks them as redelivered.
   */
  allow?(deliveries: number): void;
  /** Stops consuming. Deliveries in hand can still be settled. Resolves when no more will come. */
  cancel(): Promise<void>;
  /** Stops consuming and returns unsettled messages to the queue. */
  close(): Promise<void>;
}

/** The number of messages and consumers of a queue. */
export interface QueueInfo {
  /** The messages that wait to be delivered, without those that are delivered and unsettled. */
  readonly messages: number;
  readonly consumers: number;
}

/** The description that a broker gives of itself. */
export interface ServerInfo {
  /** The product's name, such as `RabbitMQ`; empty if the broker does not say. */
  readonly product: string;
  readonly version: string;
  /** The names of the AMQP extensions that it supports, such as `publisher_confirms`. */
  readonly capabilities: readonly string[];
}

/** A connection to a broker. Once {@link AmqpClient.lost} has settled, everything on it fails with `CONNECTION_LOST`. */
export interface AmqpClient {
  readonly server: ServerInfo;
  /** The negotiated limit on the properties of a message, in bytes. A message with more is `invalid`. */
  readonly mostPropertyBytes: number;
  /**
   * Declares an exchange, and binds the exchange that it passes to, if there is one. If it exists with other arguments, this
   * rejects with `TOPOLOGY_CONFLICT`.
   */
  declareExchange(spec: ExchangeSpec): Promise<void>;
  /**
   * Returns whether an exchange exists, whatever its arguments. Newer brokers reject with `ACCESS_REFUSED` if the user has no
   * right on it.
   */
  hasExchange(name: string): Promise<boolean>;
  /**
   * Declares a queue. If it exists with other arguments, this rejects with `TOPOLOGY_CONFLICT`.
   *
   * @returns the queue's name, which the broker chose if the spec has none.
   */
  declareQueue(spec: QueueSpec): Promise<string>;
  bind(queue: string, exchange: string, key: string): Promise<void>;
  unbind(queue: string, exchange: string, key: string): Promise<void>;
  /**
   * Declares and binds many things, in order, in one round trip. Rejects with the first refusal: requests before it took
   * effect, requests after it did not. Absent where it saves nothing.
   */
  request?(requests: readonly TopologyRequest[]): Promise<void>;
  /**
   * Deletes a queue, or does nothing if there is none. `unused`: rejects if the queue has a consumer. `unused and empty`:
   * rejects also if a message waits in it.
   *
   * @returns how many messages were deleted with it.
   */
  deleteQueue(name: string, when?: "unused" | "unused and empty"): Promise<number>;
  /**
   * Returns the depth of a queue, or `undefined` if there is no such queue. Newer brokers reject with `ACCESS_REFUSED` if the
   * user has no right on it, which does not show if the queue exists.
   */
  inspectQueue(name: string): Promise<QueueInfo | undefined>;

  /**
   * Publishes with a confirm. `settled` is called exactly once, without an argument when the broker has taken responsibility
   * for the message. Publishes are pipelined, and confirms come in any order. Never throws.
   */
  publish(route: Route, message: Message, settled: PublishSettled): void;
  /**
   * Publishes a reply to a queue, without a confirm. It is dropped if the queue is gone. Never throws. `failed` is called, in a
   * later turn, if the message turns out to be too large or cannot be encoded.
   */
  post(queue: string, message: Message, failed?: PublishSettled): void;

  /**
   * A gate that opens when the broker accepts more; `undefined` while it does. Await it before publishing, so that messages do
   * not fill the buffers of the connection.
   */
  readonly congestion: Gate | undefined;
  /** The broker's own reason for taking no messages at the moment (a memory or disk alarm). */
  readonly blocked: string | undefined;
  /** The error for a right to publish that is missing, as far as the broker has reported it recently. */
  readonly refused: ConfluoError | undefined;

  consume(options: ConsumeOptions): Promise<Consumer>;

  /** Flushes what was published, then closes the connection. It may be called twice. */
  close(): Promise<void>;
  /** Resolves once, when the connection is gone: with the reason, or with `undefined` after {@link AmqpClient.close}. */
  readonly lost: Promise<ConfluoError | undefined>;
}
