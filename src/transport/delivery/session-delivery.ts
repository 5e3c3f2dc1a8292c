/** One delivery of a lane, settled once. */

import { ConfluoError, show } from "../../errors.ts";
import { eventKey } from "../../protocol/address.ts";
import { bodyLength, header } from "../../protocol/codec.ts";
import { delayRoute, isReturn, type Pass, passOf } from "../../protocol/delays.ts";
import { headerBytes } from "../../protocol/encoding/property-size.ts";
import {
  type Envelope,
  publishedEvent,
  readEnvelope,
  republishedCall,
  unchangedCopy,
  waitHeaders,
} from "../../protocol/envelope.ts";
import type { Message } from "../../protocol/message.ts";
import type { Failure, Move, Outcome } from "../../retry/outcome.ts";
import type { AmqpClient, AmqpDelivery, Hold } from "../amqp-client.ts";
import type { Source } from "../queues/places.ts";
import type { ServiceQueues } from "../queues/service-queues.ts";
import type { SessionConnection } from "../session/connection-slot.ts";
import type { Delivery, DeliveryHistory, Lane, SessionListener } from "../transport.ts";
import type { CallsPutAside } from "./calls-put-aside.ts";
import type { Crowd } from "./crowd.ts";
import type { Isolations } from "./isolations.ts";
import {
  type AddressedCopy,
  type CopyDependencies,
  type CopyMaker,
  CopyPublisher,
  failedCopy,
  isCurrent,
} from "./settlement-copies.ts";

/** The longest expiration that is set, in milliseconds: RabbitMQ refuses twice as much. */
const LONGEST_MS = 2 ** 31 - 1;
/** The bytes of a copy's properties that are reserved for the `confluo-given-back` header and the expiration. */
const MARK_BYTES = headerBytes(header.givenBack, "1") + 1 + String(LONGEST_MS).length;

/** The receiving side of a session, as its deliveries see it. */
export interface DeliveryDependencies extends CopyDependencies {
  readonly connection: Pick<SessionConnection, "client" | "namespace" | "newId" | "warn">;
  readonly member: Pick<SessionListener, "instance" | "onExpired">;
  /** The name of the service's queue of dead letters. */
  readonly dead: string;
  readonly queues: Pick<ServiceQueues, "queueOf">;
  readonly isolations: Isolations;
  readonly crowd: Crowd;
  readonly putAside: CallsPutAside;
}

/** The circumstances of a delivery. */
export interface DeliveryArrival {
  readonly receiver: DeliveryDependencies;
  /** When this instance received it, in milliseconds on the monotonic clock. */
  readonly receivedAt: number;
  /** True if the message is marked as redelivered only because somebody looked into its queue. */
  readonly isOnlyLookedAt?: boolean;
}

/** The {@link Delivery} over a client's delivery. */
export class SessionDelivery implements Delivery {
  readonly lane: Lane;
  readonly message: Message;
  envelope: Envelope;
  readonly history: DeliveryHistory;
  readonly redelivered: boolean;
  readonly receivedAt: number;
  readonly size: number;
  readonly #source: Source;
  readonly #received: AmqpDelivery;
  readonly #receiver: DeliveryDependencies;
  /** The client that it came over. */
  readonly #client: AmqpClient | undefined;
  #settled = false;
  /**
   * The dead letters made because the message expired, by subscription. They are made once, though each attempt to publish
   * makes the other copies again.
   */
  #letters: Map<string | undefined, AddressedCopy> | undefined;

  constructor(
    source: Source,
    received: AmqpDelivery,
    { receiver, receivedAt, isOnlyLookedAt = false }: DeliveryArrival,
  ) {
    const { lane } = source;
    this.receivedAt = receivedAt;
    this.lane = lane;
    this.#source = source;
    this.message = received.message;
    this.#received = received;
    this.#receiver = receiver;
    this.#client = receiver.isClosing ? undefined : receiver.connection.client;
    // After a return, the routing key names a queue, and the headers have the path.
    const { namespace, newId } = receiver.connection;
    const { exchange } = received;
    const hasReturned = exchange === "" || (exchange !== namespace.events && isReturn(namespace, exchange));
    const eventKey = hasReturned ? undefined : received.key;
    this.size = bodyLength(received.message);
    this.envelope = readEnvelope(received.message, { lane, eventKey, newId });
    const isMarked = received.redelivered && !isOnlyLookedAt && !wasOnlyLookedAt(this.message);
    this.history = historyOf(source, isMarked, this.envelope.deaths);
    this.redelivered = this.history !== "first" || this.envelope.isGivenBack;
  }

  get hold(): Hold {
    const { hold } = this.#received;
    return hold === "held" && !this.#isOnItsConnection ? "lost" : hold;
  }

  settle(outcome: Outcome): boolean | Promise<boolean> {
    if (this.#settled) return false;
    this.#settled = true;
    switch (outcome.kind) {
      case "done":
        this.#received.ack();
        return true;
      case "release":
        // The instance's own queue is deleted with its consumer, and no other instance has these messages.
        if (this.lane === "instance") return true;
        // Published as a copy: an original that the broker requeues would be marked as redelivered, as after the loss of an
        // instance.
        return this.#publishThenAck([() => this.#givenBack()]);
      case "isolate":
        if (this.#received.bounce !== undefined) return this.#bounce(this.#received.bounce(), outcome);
        return this.#isolate(outcome);
      case "forward": {
        const copies = outcome.moves.map((move) => this.#copyFor(move));
        return this.#publishThenAck(copies.map((copy) => () => copy));
      }
      default:
        return outcome satisfies never;
    }
  }

  // Asks the sender to send the call again, if it still waits for it. If the sender cannot be asked, puts the call aside at
  // once.
  async #bounce(bouncing: Promise<boolean>, outcome: Isolation): Promise<boolean> {
    if (!(await bouncing)) return this.#isolate(outcome);
    this.#receiver.putAside.note(this.message);
    this.#received.ack();
    return true;
  }

  #isolate({
    subscriptions,
    deaths,
    until = Number.POSITIVE_INFINITY,
  }: Isolation): boolean | Promise<boolean> {
    if (this.lane === "calls") this.#receiver.putAside.note(this.message);
    const earliest = Math.min(until, this.#until);
    const alone = this.lane === "calls" || deaths > 0 || this.#receiver.crowd.isFew();
    const past = { deaths: alone ? deaths : 1, until: earliest };
    const patterns = subscriptions.length === 0 ? [undefined] : subscriptions;
    const copies = patterns.map((subscription) => {
      return () => this.#copyWith({ lane: this.lane, alone }, { ...past, subscription });
    });
    return this.#receiver.isolations.add(this.#publishThenAwaitAck(copies));
  }

  // Waits for the acknowledgement, too, because until then both the copy and the original exist.
  async #publishThenAwaitAck(copies: readonly CopyMaker[]): Promise<boolean> {
    const isPublished = await this.#publishThenAck(copies);
    if (isPublished) await this.#received.acksTaken?.();
    return isPublished;
  }

  // Returns when the message expires, in milliseconds on the monotonic clock.
  get #until(): number {
    return this.receivedAt + (this.envelope.expiresMs ?? Number.POSITIVE_INFINITY);
  }

  /**
   * Takes the time that the message was in its queue off its expiration. If the message has expired, it becomes a dead letter.
   *
   * @returns true if it is settled, so that its handler must not run.
   */
  async aged(ms: number): Promise<boolean> {
    const { expiresMs, subscription } = this.envelope;
    if (this.#settled || expiresMs === undefined) return this.#settled;
    const leftMs = Math.floor(expiresMs - ms);
    if (this.receivedAt + leftMs - performance.now() >= 1) {
      this.envelope = { ...this.envelope, expiresMs: leftMs };
      return false;
    }
    this.#settled = true;
    const expired = this.#expired(subscription);
    await this.#publishThenAck([() => expired]);
    return true;
  }

  /** Sends a message whose wait is not over through the delay queues again. Never rejects, like {@link settle}. */
  async waitOn(): Promise<void> {
    if (this.#settled) return;
    this.#settled = true;
    const pass = passOf(this.envelope.waitMs);
    const { unclaimedMs, expiresMs, deaths } = this.envelope;
    const headers = waitHeaders({ ...pass, unclaimedMs, expiresMs, deaths });
    const queue = this.#receiver.queues.queueOf({ lane: "inbox", alone: this.#source.alone });
    const delayed = this.#delayed(pass, queue, this.#unchanged(headers));
    await this.#publishThenAck([() => delayed]);
  }

  /** Publishes a delayed event that is due. Never rejects, like {@link settle}. */
  async publishDue(): Promise<void> {
    if (this.#settled) return;
    this.#settled = true;
    const { exchange, key } = this.#destination();
    await this.#publishThenAck([
      () => {
        const leftMs = Math.floor(this.#until - performance.now());
        if (key === undefined || leftMs < 1) return this.#unpublished(key);
        const expiresMs = leftMs === Number.POSITIVE_INFINITY ? undefined : Math.min(leftMs, LONGEST_MS);
        return { exchange, key, message: publishedEvent(this.message, this.envelope, expiresMs) };
      },
    ]);
  }

  #destination(): { readonly exchange: string; readonly key: string | undefined } {
    const exchange = this.#receiver.connection.namespace.events;
    try {
      return { exchange, key: eventKey(this.envelope.path) };
    } catch {
      return { exchange, key: undefined };
    }
  }

  // Makes the dead letter of a delayed event that cannot be published, or that has expired.
  #unpublished(key: string | undefined): AddressedCopy {
    if (key !== undefined) return this.#expired(undefined);
    const made = this.#letters?.get(undefined);
    if (made !== undefined) return made;
    const message = `The path ${show(this.envelope.path)} of the delayed event makes no routing key.`;
    return this.#letterFor(undefined, new ConfluoError("MALFORMED_MESSAGE", message));
  }

  #unchanged(added: Readonly<Record<string, string>>): Message {
    return unchangedCopy(this, added, this.#most);
  }

  #givenBack(): AddressedCopy | undefined {
    const { deaths, subscription } = this.envelope;
    return this.#copyWith(this.#source, { deaths, subscription, until: this.#until, isGivenBack: true });
  }

  // Makes a copy for a queue of the same lane, with the history of the message. If the message has expired, a call is dropped,
  // as the broker drops it, and anything else becomes a dead letter.
  #copyWith(source: Source, { deaths, subscription, until, isGivenBack }: Past): AddressedCopy | undefined {
    const key = this.#receiver.queues.queueOf(source);
    // The time that is left as far as this instance knows; it does not know how long the message was under way before.
    const leftMs = Math.floor(until - performance.now());
    if (leftMs < 1) return this.lane === "calls" ? undefined : this.#expired(subscription);
    const { unclaimedMs } = this.envelope;
    const message =
      this.lane === "calls"
        ? republishedCall(this.message, this.envelope, this.#most)
        : this.#unchanged({
            ...(subscription === undefined ? {} : { [header.subscription]: subscription }),
            ...(deaths === 0 ? {} : { [header.deaths]: String(deaths) }),
            ...(unclaimedMs === 0 ? {} : { [header.unclaimed]: String(unclaimedMs) }),
          });
    const { body, properties } = message;
    const expiration =
      leftMs === Number.POSITIVE_INFINITY ? {} : { expiration: String(Math.min(leftMs, LONGEST_MS)) };
    const headers = isGivenBack ? { headers: { ...properties.headers, [header.givenBack]: "1" } } : {};
    return { exchange: "", key, message: { body, properties: { ...properties, ...expiration, ...headers } } };
  }

  #expired(subscription: string | undefined): AddressedCopy {
    const made = this.#letters?.get(subscription);
    if (made !== undefined) return made;
    const { path, expiresMs } = this.envelope;
    const message = `${show(path)} expired: it was not handled within ${expiresMs} ms.`;
    return this.#letterFor(subscription, new ConfluoError("TIMEOUT", message));
  }

  #letterFor(subscription: string | undefined, error: ConfluoError): AddressedCopy {
    this.#letters ??= new Map();
    const failure: Failure = {
      error,
      retry: "final",
      ...(subscription === undefined ? {} : { subscription }),
    };
    const letter = this.#copyFor({ kind: "dead-letter", failure });
    this.#letters.set(subscription, letter);
    this.#receiver.member.onExpired(this, failure);
    return letter;
  }

  // Returns the most that the properties of a copy may take, in bytes.
  get #most(): number | undefined {
    const most = this.#client?.mostPropertyBytes;
    return most === undefined ? undefined : most - MARK_BYTES;
  }

  get #isOnItsConnection(): boolean {
    return isCurrent(this.#client, this.#receiver);
  }

  #publishThenAck(copies: readonly CopyMaker[]): Promise<boolean> {
    const original = { client: this.#client, received: this.#received };
    return new CopyPublisher(this.#receiver, original).publishThenAck(copies);
  }

  // Returns the queue that a copy returns to. A call from a batch belongs to the queue for calls, like any other call.
  get #queue(): string {
    return this.lane === "calls" ? this.#receiver.queues.queueOf(this.#source) : this.#received.queue;
  }

  #copyFor(move: Move): AddressedCopy {
    const queue = this.#queue;
    const { attempt, deaths } = this.envelope;
    const { instance } = this.#receiver.member;
    const last = { failure: move.failure, queue, instance };
    switch (move.kind) {
      case "dead-letter":
        return {
          exchange: "",
          key: this.#receiver.dead,
          message: failedCopy(this, { ...last, attempt }, this.#most),
        };
      case "retry": {
        const pass = passOf(move.waitMs);
        const wait = { ...move, ...pass, unclaimedMs: 0 };
        const copy = failedCopy(this, { ...last, attempt: attempt + 1, wait }, this.#most);
        return this.#delayed(pass, queue, copy);
      }
      case "retry-unhandled": {
        const pass = passOf(move.waitMs);
        const wait = { ...move, ...pass, deaths };
        return this.#delayed(pass, queue, failedCopy(this, { ...last, attempt, wait }, this.#most));
      }
      default:
        return move satisfies never;
    }
  }

  // The copy returns to the queue that the message came from, so that a message that is handled alone stays in the queue for
  // that.
  #delayed({ quarters }: Pass, queue: string, message: Message): AddressedCopy {
    return { ...delayRoute(this.#receiver.connection.namespace, quarters, queue), message, quarters };
  }
}

type Isolation = Extract<Outcome, { readonly kind: "isolate" }>;

/** The differences between a copy and its original. */
interface Past {
  readonly deaths: number;
  readonly subscription: string | undefined;
  /** When it expires, in milliseconds on the monotonic clock. */
  readonly until: number;
  readonly isGivenBack?: true;
}

// Returns whether a message was delivered before, but its consumer was not lost. Quorum queues count these two separately from
// RabbitMQ 4.3 on. Older brokers count them as one, so that looking into a queue counts as the loss of an instance.
function wasOnlyLookedAt({ properties: { headers } }: Message): boolean {
  return headers?.["x-acquired-count"] !== undefined && headers["x-delivery-count"] === undefined;
}

// An instance's own queue is deleted with it, so the messages of that lane never come again after a loss.
function historyOf({ lane, alone }: Source, isMarked: boolean, deaths: number): DeliveryHistory {
  if (lane === "instance") return "first";
  if (alone) return isMarked ? "isolated-redelivered" : "isolated";
  if (isMarked) return "redelivered";
  return lane === "inbox" && deaths > 0 ? "isolated" : "first";
}
