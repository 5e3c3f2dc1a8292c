/** Receives from the queues of a service, and passes deliveries to the dispatcher and replies to the caller. */

import { waitAtMost } from "../../async/abort.ts";
import {
  batchLimitOf,
  CALLS_TYPE,
  EVENTS_TYPE,
  REPLIES_TYPE,
  type ReplyEntry,
  repliesIn,
} from "../../protocol/batch.ts";
import { isReturn } from "../../protocol/delays.ts";
import { leftAt } from "../../protocol/left-at.ts";
import type { Message } from "../../protocol/message.ts";
import { release } from "../../retry/outcome.ts";
import type { AmqpDelivery } from "../amqp-client.ts";
import type { CallBatcher } from "../batching/call-batcher.ts";
import { ChunkedDelivery } from "../batching/chunked-delivery.ts";
import { ReceivedBatch, readableCalls } from "../batching/received-batch.ts";
import { ReceivedEvents, readableEvents } from "../batching/received-events.ts";
import type { ReplyBatcher } from "../batching/reply-batcher.ts";
import { declareQueues } from "../queues/declare.ts";
import { SessionLevels } from "../queues/delay-levels.ts";
import type { Place, QueueReceiver, Source } from "../queues/places.ts";
import { ServiceQueues } from "../queues/service-queues.ts";
import type { SessionConnection } from "../session/connection-slot.ts";
import type { SessionListener } from "../transport.ts";
import { BrokerClock } from "./broker-clock.ts";
import { CallsPutAside } from "./calls-put-aside.ts";
import { Crowd } from "./crowd.ts";
import { Isolations } from "./isolations.ts";
import { type DeliveryArrival, type DeliveryDependencies, SessionDelivery } from "./session-delivery.ts";

/**
 * How long the end of a session waits for the confirms of copies, in milliseconds. A container has 10 s for the whole shutdown.
 */
const CONFIRM_MS = 1_000;

/** The batching of calls and replies, as far as received messages influence it. */
export interface Batchers {
  readonly calls: Pick<CallBatcher, "learn">;
  readonly replies: Pick<ReplyBatcher, "heard" | "heardByBatch" | "waiting">;
}

/** The receiving side of a session. */
export class Receiver implements QueueReceiver, DeliveryDependencies {
  readonly connection: SessionConnection;
  readonly member: SessionListener;
  readonly dead: string;
  readonly queues: ServiceQueues;
  readonly levels: SessionLevels;
  readonly isolations: Isolations = new Isolations();
  readonly crowd: Crowd = new Crowd();
  readonly putAside: CallsPutAside;
  readonly copies: Set<Promise<unknown>> = new Set();
  isClosing = false;
  /** The replies of one message, processed in portions. */
  readonly replyEntries: ChunkedDelivery<ReplyEntry>;
  readonly #batchers: Batchers;
  readonly #clock = new BrokerClock();
  // Messages on their way to a handler or to a delay queue. A pause waits for them; otherwise they would be
  // redelivered.
  readonly #waitingOn = new Set<Promise<unknown>>();
  /** The messages with events that were not begun yet. */
  readonly #gathered = new Set<ReceivedEvents>();
  #declaring: Promise<void> | undefined;

  constructor(connection: SessionConnection, member: SessionListener, batchers: Batchers) {
    this.connection = connection;
    this.member = member;
    this.#batchers = batchers;
    this.dead = connection.namespace.dead(member.service);
    this.queues = new ServiceQueues(connection, member, this);
    this.levels = new SessionLevels(connection);
    this.putAside = new CallsPutAside(() => this.#countCallsAlone());
    this.replyEntries = new ChunkedDelivery((entry) => {
      if (entry.kind === "reply") member.onReply(entry.reply);
      else member.onBounced(entry.id);
    });
  }

  takerOf(source: Source): (delivery: AmqpDelivery) => void {
    return (delivery) => {
      const receivedAt = performance.now();
      if (this.isolations.isUnderWay && !delivery.redelivered)
        this.isolations.hold(() => this.#take(source, delivery, receivedAt));
      else this.#take(source, delivery, receivedAt);
    };
  }

  hold(source: Source, received: AmqpDelivery): () => unknown {
    const delivery = new SessionDelivery(source, received, { receiver: this, receivedAt: performance.now() });
    return () => delivery.settle(release);
  }

  #take(source: Source, received: AmqpDelivery, receivedAt: number): void {
    const arrival = { receiver: this, receivedAt };
    if (source.lane !== "calls") this.#takeMessage(source, received, arrival);
    else if (source.alone) this.#takeCallAlone(source, received, arrival);
    else this.#takeCalls(source, received, arrival);
  }

  #takeMessage(source: Source, received: AmqpDelivery, arrival: DeliveryArrival): void {
    const { message } = received;
    const events = message.properties.contentType === EVENTS_TYPE ? readableEvents(message) : undefined;
    if (events === undefined) {
      this.#handOver(source, received, arrival);
      return;
    }
    const noteBegun = (): void => {
      if (gathered.isBegun) this.#gathered.delete(gathered);
    };
    const giveBack = (event: AmqpDelivery): void => {
      noteBegun();
      const released = new SessionDelivery(source, event, arrival).settle(release);
      if (released instanceof Promise) this.#await(released);
    };
    const gathered = new ReceivedEvents(received, events, {
      handOver: (event) => {
        noteBegun();
        this.#handOver(source, event, arrival);
      },
      // The copies of an instance are for it alone.
      giveBack: source.lane === "instance" ? undefined : giveBack,
    });
    this.#gathered.add(gathered);
    gathered.begin();
  }

  #takeCalls(source: Source, received: AmqpDelivery, arrival: DeliveryArrival): void {
    const { message } = received;
    const { contentType, replyTo } = message.properties;
    const calls = contentType === CALLS_TYPE ? readableCalls(message) : undefined;
    if (calls === undefined) {
      this.#handOver(source, received, arrival);
      return;
    }
    if (typeof replyTo === "string") this.#batchers.replies.heardByBatch(replyTo);
    const batch = new ReceivedBatch(received, calls.length, this.connection.client);
    for (const call of calls) this.#handOver(source, batch.delivery(call), arrival);
  }

  #takeCallAlone(source: Source, received: AmqpDelivery, arrival: DeliveryArrival): void {
    const looked = received.redelivered ? this.putAside.wasLookedAt(received.message) : undefined;
    if (looked === undefined) this.#handOver(source, received, arrival);
    else
      void looked.then((isOnlyLookedAt) => {
        // If the session was closed meanwhile, the broker redelivers the call.
        if (received.hold === "held" && !this.isClosing)
          this.#handOver(source, received, { ...arrival, isOnlyLookedAt });
      });
  }

  #handOver(source: Source, received: AmqpDelivery, arrival: DeliveryArrival): void {
    const delivery = new SessionDelivery(source, received, arrival);
    const { expiresMs, waitMs, isUnpublished, asksForBatches } = delivery.envelope;
    const { exchange } = received;
    if (asksForBatches && delivery.lane === "calls" && !source.alone)
      this.#batchers.replies.heard(received.message.properties.replyTo as string);
    // A message loses its expiration in a delay queue, and may have been in the inbox for any time since it left that queue.
    const hasWaited =
      expiresMs !== undefined && exchange !== "" && isReturn(this.connection.namespace, exchange);
    if (!hasWaited && (delivery.lane !== "inbox" || (waitMs === 0 && !isUnpublished))) {
      this.member.onDelivery(delivery);
      return;
    }
    this.#await(hasWaited ? this.#deliverAged(delivery) : this.#moveOn(delivery));
  }

  // A pause waits for this work.
  #await(work: Promise<unknown>): void {
    const waiting = work.finally(() => this.#waitingOn.delete(waiting));
    this.#waitingOn.add(waiting);
  }

  async #deliverAged(delivery: SessionDelivery): Promise<void> {
    const { client } = this.connection;
    const seconds = leftAt(delivery.message);
    const ageMs =
      seconds === undefined || client === undefined ? 0 : await this.#clock.since(seconds, client);
    // If the connection is gone, the broker redelivers the message.
    if (this.isClosing || this.connection.client !== client) return;
    if (await delivery.aged(ageMs)) return;
    const { waitMs, isUnpublished } = delivery.envelope;
    if (waitMs === 0 && !isUnpublished) this.member.onDelivery(delivery);
    else await this.#moveOn(delivery);
  }

  #moveOn(delivery: SessionDelivery): Promise<void> {
    return delivery.envelope.waitMs > 0 ? delivery.waitOn() : delivery.publishDue();
  }

  readonly hasWaitingAnswers = (): boolean => this.#batchers.replies.waiting > 0;

  readonly onReply = ({ message }: AmqpDelivery): void => {
    const takes = batchLimitOf(message);
    if (takes !== undefined) this.#batchers.calls.learn(String(message.properties.appId), takes);
    if (message.properties.contentType === REPLIES_TYPE) this.#takeReplies(message);
    else this.member.onReply(message);
  };

  #takeReplies(message: Message): void {
    let entries: readonly ReplyEntry[];
    try {
      entries = repliesIn(message) ?? [];
    } catch (error) {
      this.connection.warn({ err: error }, "A batch of replies cannot be read; it is dropped.");
      return;
    }
    this.replyEntries.add(entries);
  }

  ended(place: Place): void {
    if (place === "calls alone") this.putAside.forget();
  }

  // Returns 0 while this instance does not consume the queue, because then it does not know what has happened since.
  async #countCallsAlone(): Promise<number> {
    const queue = this.queues.queueOf({ lane: "calls", alone: true });
    if (!this.queues.isConsumed("calls alone")) return 0;
    return (await this.connection.client?.inspectQueue(queue))?.consumers ?? 0;
  }

  /**
   * Declares the exchanges and queues that copies go to, without the delay queues. Concurrent requests share one run.
   */
  declareMoves(): Promise<void> {
    this.#declaring ??= this.#declareMoves().finally(() => {
      this.#declaring = undefined;
    });
    return this.#declaring;
  }

  async #declareMoves(): Promise<void> {
    const { client, namespace } = this.connection;
    if (client === undefined) return;
    await this.connection.declareShared(client);
    this.connection.levels.forget();
    const { service } = this.member;
    await declareQueues(client, [...namespace.durableQueues(service), ...namespace.callQueues(service)]);
  }

  /** Goes on with the deliveries that are held back. Resolves when all of them have reached a handler or a delay queue. */
  async goOn(): Promise<void> {
    if (this.isolations.isUnderWay) this.isolations.release();
    for (const events of this.#gathered) events.stop();
    this.#gathered.clear();
    await Promise.all(this.#waitingOn);
  }

  /**
   * Begins no further copy. Copies that have begun are confirmed, and their originals acknowledged, before the consumers close.
   * Otherwise the broker would redeliver the originals, and both would be handled.
   *
   * @returns `undefined` if no copy has begun.
   */
  endCopies(): Promise<void> | undefined {
    this.isClosing = true;
    this.levels.close();
    if (this.copies.size === 0) return undefined;
    return waitAtMost(CONFIRM_MS, Promise.all(this.copies));
  }

  /** Forgets everything that came over the connection, because it is gone. */
  forget(): void {
    this.replyEntries.flush();
    this.#gathered.clear();
    this.isolations.forget();
    this.putAside.forget();
    this.queues.forget();
    this.levels.end();
  }
}
