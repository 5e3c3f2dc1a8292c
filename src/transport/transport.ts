/**
 * The interface between the core and the broker, in confluo's own terms: lanes, deliveries, outcomes. The layers above do not
 * name exchanges, queues or acknowledgements.
 */

import type { Gate } from "../async/gate.ts";
import type { ConfluoError } from "../errors.ts";
import type { Envelope } from "../protocol/envelope.ts";
import type { Message } from "../protocol/message.ts";
import type { Failure, Outcome } from "../retry/outcome.ts";

/** A broker, shared by the services of this process that use the same one. */
export interface Transport {
  /** The broker's address for log lines; never contains credentials. */
  readonly description: string;
  /** The broker and namespace. Services can call each other only if these are the same. */
  readonly realm: string;
  /** The reason why the last attempt to connect failed, while the connection is not established. */
  readonly lastFailure: ConfluoError | undefined;
  /**
   * Opens the session of a service. The first session opens the connection, the last one that closes ends it. Waits until the
   * broker answers or the signal fires.
   */
  openSession(member: SessionListener, signal: AbortSignal): Promise<Session>;
}

/** A service as its session sees it. `Lifecycle` binds the callbacks to the dispatcher and the caller. They must not throw. */
export interface SessionListener {
  readonly service: string;
  readonly instance: string;
  /** The most deliveries of each lane that may be in hand, unsettled. */
  readonly prefetch: { readonly calls: number; readonly inbox: number };
  readonly batching: Batching;
  /** Is called with a delivery for a handler: `Dispatcher.handle`. */
  onDelivery(delivery: Delivery): void;
  /**
   * Is called when a message became a dead letter because it had expired, whether or not its delivery was passed to {@link
   * onDelivery}, or because it is a delayed event that cannot be published.
   */
  onExpired(delivery: Delivery, failure: Failure): void;
  /** Is called with a reply: `Caller.receive`. */
  onReply(reply: Message): void;
  /**
   * Is called with the `correlation_id` of a call that must be sent again: its batch was delivered to an instance that is gone.
   */
  onBounced(correlationId: string): void;
  /** Is called with a discovery question; returns the answer and the queue it goes to. `undefined` if discovery is disabled. */
  readonly onQuestion:
    | ((question: Message) => { readonly to: string; readonly message: Message } | undefined)
    | undefined;
  /** Is called when the connection broke. Earlier calls get no reply, and earlier deliveries cannot be settled any more. */
  onLost(reason: ConfluoError): void;
  /** Is called when the service is connected again, and everything is declared, bound and consumed again. */
  onRestored(): void;
}

/** The limits on what travels in one message. */
export interface Batching {
  /** The most calls in one message. 1: each call travels by itself. */
  readonly maxCalls: number;
  /** The most bytes of bodies in one message. */
  readonly maxBytes: number;
  /** True, in tests, if a single call travels as a batch too, even before the service has said that it accepts batches. */
  readonly isEager: boolean;
}

/**
 * The way on which a delivery came. `calls`: calls. `inbox`: one-way commands and events, from a durable queue that the
 * instances share. `instance`: this instance's own copies of events.
 */
export type Lane = "calls" | "inbox" | "instance";

/**
 * The past of a message, as far as it is known. `first`: no instance had it before. `redelivered`: an instance had it and is
 * gone; nobody knows if its handler ran. `isolated`: a redelivered message that is tried once more, alone, or like any other if
 * it is one of a crowd. `isolated-redelivered`: the instance that had it alone is gone, too.
 */
export type DeliveryHistory = "first" | "redelivered" | "isolated" | "isolated-redelivered";

/** One message to handle. */
export interface Delivery {
  readonly lane: Lane;
  readonly message: Message;
  /** The metadata of the message. */
  readonly envelope: Envelope;
  readonly history: DeliveryHistory;
  /** True if an instance had the message before, whether or not it began it, and even if it gave the message back. */
  readonly redelivered: boolean;
  /** When this instance received it, in milliseconds on the monotonic clock. */
  readonly receivedAt: number;
  /** The approximate size of its body, in bytes. */
  readonly size: number;
  /**
   * The state of the message at the broker, which shows if it may be delivered again. `held`: not yet, because this instance
   * has it. `released`: no, because the broker has taken the acknowledgement. `lost`: perhaps, because the connection broke
   * before that was certain.
   */
  readonly hold: "held" | "released" | "lost";
  /** True if it was delivered within the process, without the broker. */
  readonly isNear?: boolean;
  /**
   * Settles the delivery; a second call does nothing. A copy is confirmed by the broker before the delivery is acknowledged, so
   * a crash in between repeats the message but does not lose it. After the connection is lost nothing happens, because the
   * broker redelivers the message. Never rejects.
   *
   * @returns whether the outcome is final, so that nothing more has to be done for the message even if its acknowledgement is
   * lost. A promise only if a copy has to be published.
   */
  settle(outcome: Outcome): boolean | Promise<boolean>;
}

/**
 * The reason why a publish failed. `returned`: there is no queue for the message. `refused`: the broker rejected it.
 * `too-large`: it exceeds the broker's limit. `lost`: the connection broke before the confirm. `invalid`: the message cannot be
 * encoded. `forbidden`: a right is missing.
 */
export type Rejection = "returned" | "refused" | "too-large" | "lost" | "invalid" | "forbidden";

/**
 * Is called once when a publish ends; without arguments if the broker took responsibility. `why` explains the rejection, if
 * more is known than its kind. Never called synchronously by the method that it is passed to.
 */
export type Settled = (rejection?: Rejection, why?: ConfluoError) => void;

/** Where a delayed message goes, and when. */
export interface DelayedDelivery {
  /** The service whose inbox it returns to. */
  readonly service: string;
  /** How long it waits, in milliseconds. */
  readonly waitMs: number;
}

/** A service's part of a connection. No method throws; those that return a promise may reject. */
export interface Session {
  /** Declares the service's queues and consumes commands. Later calls wait for the first. */
  serve(): Promise<void>;
  /** Binds event keys, so that the service, or each instance, gets one copy of each event that matches. */
  bind(keys: readonly string[], per: "service" | "instance"): Promise<void>;
  /** Removes an instance's own binding of a key. Bindings that the service's instances share are never removed here. */
  unbindInstance(key: string): Promise<void>;
  /** Opens the queue for discovery questions, if the member answers any. Never rejects. */
  openQuestions(): Promise<void>;
  /** Opens the queue for replies. Later calls wait for the first. */
  openReplies(): Promise<void>;
  /**
   * Checks whether the instance's queues still exist, and declares them again if not. Called when a call got no answer in time,
   * because some brokers lose such queues without notice.
   */
  lookForQueues(): void;
  /** True while there is a connection. */
  readonly connected: boolean;
  /** The number of connections there have been. */
  readonly connections: number;
  /**
   * True if a call may be returned although its service runs, because instances that reconnect delete and declare their queues.
   */
  readonly mayReturnCalls: boolean;
  /** A gate that opens when the broker accepts more; `undefined` while it does. Await it before publishing. */
  readonly congestion: Gate | undefined;
  /** The broker's own reason for taking no messages at the moment. */
  readonly blocked: string | undefined;
  /** The error for a right to publish that is missing, as far as the broker has reported it recently. */
  readonly refused: ConfluoError | undefined;
  /** The names of the queues that should be consumed and at the moment are not. */
  readonly detached: readonly string[];
  /** The names of delay queues that this member uses and from which nothing returns at the moment. */
  readonly stalled: readonly string[];
  /** The queue for replies; changes with the connection. Empty before {@link Session.openReplies}. */
  readonly replyTo: string;

  /** Sends a call to any one instance of a service. The message names its reply queue. */
  call(service: string, message: Message, settled: Settled): void;
  /**
   * Sends a call to any one instance of a service that runs no other call from that queue. Used when the instance that had it
   * is gone.
   */
  callAlone(service: string, message: Message, settled: Settled): void;
  /** Sends a one-way command to any one instance of a service, durably. */
  send(service: string, message: Message, settled: Settled): void;
  /** Publishes an event to every service and instance with a matching binding. */
  publish(key: string, message: Message, settled: Settled): void;
  /** Sends a message to the inbox of a service after a wait, durably. */
  delay(wait: DelayedDelivery, message: Message, settled: Settled): void;
  /**
   * Sends a reply. It is dropped if its queue is gone. `failed` is called if the reply is too large or cannot be encoded, so
   * that it has not arrived.
   *
   * @returns {@link Session.congestion}: wait for it before sending another reply.
   */
  reply(to: string, message: Message, failed?: Settled): Gate | undefined;

  /**
   * Sets how many messages with calls may be delivered and unsettled, in place of the member's prefetch or the last value;
   * never fewer than the prefetch. Messages that are delivered already stay so.
   */
  allow(messages: number): void;
  /** Stops consuming, except for calls if `keep` says so. Deliveries in hand can still be settled and answered. */
  pause(keep?: "calls"): Promise<void>;
  /** Gives back unsettled deliveries, flushes what was published, and leaves the connection. */
  close(): Promise<void>;
}
