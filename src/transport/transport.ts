/**
 * The broker as the core sees it, in confluo's own words: lanes, deliveries, outcomes. No exchange, queue or
 * acknowledgement is named above this line.
 */

import type { Gate } from "../async/gate.ts";
import type { ConfluoError } from "../errors.ts";
import type { Envelope } from "../protocol/envelope.ts";
import type { Message } from "../protocol/message.ts";
import type { Failure, Outcome } from "../retry/outcome.ts";

/** A broker, shared by the services of a process that were given the same one. */
export interface Transport {
  /** For log lines: never with credentials. */
  readonly description: string;
  /** Services meet only where this is the same: at one broker, in one namespace. */
  readonly realm: string;
  /** Why the last attempt to connect failed, while one is under way. */
  readonly lastFailure: ConfluoError | undefined;
  /**
   * Gives a service its place at the broker. The first to join connects, the last to leave disconnects. Waits until the
   * broker answers or the signal fires.
   */
  openSession(member: SessionListener, signal: AbortSignal): Promise<Session>;
}

/** A service as its session sees it. `Lifecycle` binds its callbacks to the dispatcher and the caller. They must not throw. */
export interface SessionListener {
  readonly service: string;
  readonly instance: string;
  /** Deliveries handed over and not yet settled, at most, for each lane. */
  readonly prefetch: { readonly calls: number; readonly inbox: number };
  readonly batching: Batching;
  /** A message arrived for a handler: `Dispatcher.handle`. */
  onDelivery(delivery: Delivery): void;
  /** A message became a dead letter since its time was over, whatever was said of its delivery, if that was handed over at all. */
  onExpired(delivery: Delivery, failure: Failure): void;
  /** A reply arrived: `Caller.receive`. */
  onReply(reply: Message): void;
  /** The instance that had a call, by its `correlation_id`, together with others, is gone: it is to be sent again. */
  onBounced(correlationId: string): void;
  /** Somebody asks what the instance is and does. `undefined`: it is not to be asked. @returns the answer, and where it goes. */
  readonly onQuestion:
    | ((question: Message) => { readonly to: string; readonly message: Message } | undefined)
    | undefined;
  /** The connection broke. Replies to earlier calls will not come; earlier deliveries can no longer be settled. */
  onLost(reason: ConfluoError): void;
  /** Connected again: all that was declared, bound and consumed is so again. */
  onRestored(): void;
}

/** How much travels in one message. */
export interface Batching {
  /** Calls, at most. 1: each by itself. */
  readonly maxCalls: number;
  /** Bytes of their bodies, at most. */
  readonly maxBytes: number;
  /** True if also a single call is gathered, and nobody has to say first that he takes that: for tests. */
  readonly isEager: boolean;
}

/**
 * Where a delivery came from. `calls`: the fast lane. `inbox`: the durable lane, shared by the instances.
 * `instance`: this instance's own copies of events.
 */
export type Lane = "calls" | "inbox" | "instance";

/**
 * The known past of a message. `first`: no instance was given it before. `redelivered`: an instance had it and is gone;
 * whether its handler ran nobody knows. `isolated`: a redelivered message that is tried once more, by itself or, if it is one of
 * many, like any other. `isolated-redelivered`: the instance that had it by itself is gone, too.
 */
export type DeliveryHistory = "first" | "redelivered" | "isolated" | "isolated-redelivered";

/** One message to handle. */
export interface Delivery {
  readonly lane: Lane;
  readonly message: Message;
  /** The envelope of the message: what it is. */
  readonly envelope: Envelope;
  readonly history: DeliveryHistory;
  /** True if an instance was given it before, started or not, and be it that it gave it back. */
  readonly redelivered: boolean;
  /** When this instance was given it, on the monotonic clock. */
  readonly receivedAt: number;
  /** About how many bytes its body takes. */
  readonly size: number;
  /**
   * Says whether the broker may deliver the message again. `held`: not yet, since this instance has it. `released`: no more, since
   * the broker knows that it is done with. `lost`: perhaps, since the connection broke before that was certain.
   */
  readonly hold: "held" | "released" | "lost";
  /** True if it was handed over within the process, without the broker. */
  readonly isNear?: boolean;
  /**
   * Ends the delivery; a second time does nothing. A copy is confirmed by the broker before the delivery is
   * acknowledged: a crash in between costs a repetition, never a message. After the connection is lost nothing
   * happens: the broker delivers it again. Never rejects.
   *
   * @returns at once, if nothing has to be asked for: whether the outcome stands, though the acknowledgement may be lost: then the message needs nothing more.
   */
  settle(outcome: Outcome): boolean | Promise<boolean>;
}

/**
 * The outcome of a publish: nothing means that the broker took responsibility. `returned`: no queue for it. `refused`:
 * the broker said no. `too-large`: over the broker's limit. `lost`: the connection broke before the broker said. `invalid`: it
 * cannot be written. `forbidden`: a right is missing.
 */
export type Rejection = "returned" | "refused" | "too-large" | "lost" | "invalid" | "forbidden";

/**
 * Told once what became of a message. Never called from inside the verb that was given it. `why` has the reason where more is
 * known than its kind.
 */
export type Settled = (rejection?: Rejection, why?: ConfluoError) => void;

/** A service's place at the broker. Nothing here throws but what returns a promise, which then rejects. */
export interface Session {
  /** Declares the service's queues and takes commands from them. Later calls wait for the first. */
  serve(): Promise<void>;
  /** Has events of binding keys delivered: one copy per service, or one per instance. */
  bind(keys: readonly string[], per: "service" | "instance"): Promise<void>;
  /** Ends this instance's own copies of a key. What a service shares is never unbound by an instance. */
  unbindInstance(key: string): Promise<void>;
  /** Makes a place for questions, if the member takes any. Never rejects. */
  openQuestions(): Promise<void>;
  /** Makes a place for replies. Later calls wait for the first. */
  openReplies(): Promise<void>;
  /**
   * A call got no answer in time. Some brokers lose the queues of an instance without a word: so they are looked for, and
   * made again if they are gone.
   */
  lookForQueues(): void;
  /** True while there is a connection. */
  readonly connected: boolean;
  /** How many connections there have been. */
  readonly connections: number;
  /** Tells whether a call may be returned though the service is there: instances that come back make their queues anew. */
  readonly mayReturnCalls: boolean;
  /** Opens when the broker takes more; `undefined` while it does. To be waited for before anything is published. */
  readonly congestion: Gate | undefined;
  /** Why the broker takes no messages at the moment, in its own words. */
  readonly blocked: string | undefined;
  /** The right to publish that is missing, in the broker's words, as far as it has said so of late. */
  readonly refused: ConfluoError | undefined;
  /** Names of the queues that were asked for and are not consumed at the moment. */
  readonly detached: readonly string[];
  /** Names of delay queues that this member uses and from which nothing comes back at the moment. */
  readonly stalled: readonly string[];
  /** Where replies shall go; changes with the connection. Empty before {@link Session.openReplies}. */
  readonly replyTo: string;

  /** To any one instance of a service; the message names where its reply shall go. */
  call(service: string, message: Message, settled: Settled): void;
  /** To any one instance of a service that has nothing else of its kind in hand: what an instance that is gone had. */
  callAlone(service: string, message: Message, settled: Settled): void;
  /** To any one instance of a service, durably. */
  send(service: string, message: Message, settled: Settled): void;
  /** To every service and instance with a matching binding. */
  publish(key: string, message: Message, settled: Settled): void;
  /**
   * To whoever asked. Dropped when nobody is there any more. `failed` is called if it turns out to be too large, or cannot be
   * written: then it has not arrived.
   *
   * @returns {@link Session.congestion}: whoever answers more waits for that first.
   */
  reply(to: string, message: Message, failed?: Settled): Gate | undefined;

  /**
   * Has so many messages of calls delivered before one of them is settled, instead of the member's prefetch or what was said
   * last; never fewer than the prefetch. What is delivered already stays so.
   */
  allow(messages: number): void;
  /** Takes no more deliveries, but calls if they are kept. What was delivered can still be settled, replied to and waited for. */
  pause(keep?: "calls"): Promise<void>;
  /** Gives back what is unsettled, flushes what was published and leaves. */
  close(): Promise<void>;
}
