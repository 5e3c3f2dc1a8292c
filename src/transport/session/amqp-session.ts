/** A service's place at the broker: what it publishes, and what becomes of what it is given. */

import { withinMs } from "../../async/abort.ts";
import type { Gate } from "../../async/gate.ts";
import { runOutsideContext } from "../../async/outside-context.ts";
import type { ConfluoError } from "../../errors.ts";
import { asksForBatches, batchLimitOf, type ReplyEntry, repliesIn } from "../../protocol/batch.ts";
import { leftAt } from "../../protocol/left-at.ts";
import type { Message } from "../../protocol/message.ts";
import type { Namespace } from "../../protocol/topology.ts";
import { BatchCensus } from "../batching/batch-census.ts";
import { AdaptiveBatchLimit } from "../batching/batch-limit.ts";
import { CallBatcher } from "../batching/call-batcher.ts";
import { ChunkedDelivery } from "../batching/chunked-delivery.ts";
import { ReceivedBatch, readableCalls } from "../batching/received-batch.ts";
import { ReplyBatcher } from "../batching/reply-batcher.ts";
import { BrokerClock } from "../delivery/broker-clock.ts";
import { CallsPutAside } from "../delivery/calls-put-aside.ts";
import { Crowd } from "../delivery/crowd.ts";
import { Isolations } from "../delivery/isolations.ts";
import {
  type DeliveryArrival,
  type DeliveryDependencies,
  SessionDelivery,
  type Source,
} from "../delivery/session-delivery.ts";
import { CopiesUnderWay } from "../delivery/under-way.ts";
import { declareQueues } from "../queues/declare.ts";
import { ReturnWatch } from "../queues/return-watch.ts";
import { ServiceQueues } from "../queues/service-queues.ts";
import type { Session, SessionListener, Settled } from "../transport.ts";
import type { AmqpClient, AmqpDelivery } from "../wire.ts";
import { DirectReturns } from "./direct-returns.ts";
import { DiscoveryResponder } from "./discovery-responder.ts";

/** How long the end of a link waits for the broker to confirm copies: with what comes before, a container has 10 s. */
const CONFIRM_MS = 1_000;

/** The connection that sessions share, as whoever makes it says. */
export interface ConnectionSlot {
  /** The client of the connection at the moment; `undefined` while there is none. */
  wire: AmqpClient | undefined;
  /** How many connections there have been. */
  connections: number;
}

/** What a session needs of the connection that it shares. */
export interface SessionHost extends Readonly<ConnectionSlot> {
  readonly namespace: Namespace;
  /** Declares what all services of the namespace share. */
  declareShared(wire: AmqpClient): Promise<void>;
  newId(): string;
  /** Reports a failure that nobody waits for. */
  warn(details: object, message: string): void;
  leave(link: AmqpSession): Promise<void>;
}

/** {@link Session} over a {@link AmqpClient}. */
export class AmqpSession implements Session {
  readonly member: SessionListener;
  readonly #host: SessionHost;
  readonly #attachments: ServiceQueues;
  readonly #questions: DiscoveryResponder | undefined;
  readonly #surroundings: DeliveryDependencies;
  readonly #calls: CallBatcher;
  readonly #replies: ReplyBatcher;
  readonly #census: BatchCensus;
  readonly #entries: ChunkedDelivery<ReplyEntry>;
  readonly #isolations = new Isolations();
  readonly #crowd = new Crowd();
  readonly #directReturns = new DirectReturns();
  readonly #putAside: CallsPutAside;
  readonly #clock = new BrokerClock();
  // On their way to a handler or between two delay queues: a pause is over when they have got there, or they would be
  // delivered once more.
  readonly #waitingOn = new Set<Promise<void>>();
  readonly #copies = new CopiesUnderWay();
  readonly #returns: ReturnWatch;

  constructor(host: SessionHost, member: SessionListener) {
    this.#host = host;
    this.member = member;
    this.#attachments = new ServiceQueues({
      service: member.service,
      prefetch: member.prefetch,
      takesBatches: member.batching.maxCalls > 1,
      namespace: host.namespace,
      wire: () => host.wire,
      onDelivery: (source, delivery) => this.#deliver(source, delivery),
      onReply: ({ message }) => this.#onReply(message),
      onEnded: (place) => {
        if (place === "calls alone") this.#putAside.forget();
      },
      warn: host.warn,
    });
    this.#putAside = new CallsPutAside(() => this.#countCallsAlone());
    const { onQuestion } = member;
    this.#questions =
      onQuestion &&
      new DiscoveryResponder({
        service: member.service,
        instance: member.instance,
        namespace: host.namespace,
        wire: () => host.wire,
        onQuestion: (question) => {
          const { wire } = host;
          // While the broker takes nothing, answers would pile up here. Whoever asked does not wait for long.
          if (wire === undefined || wire.congestion !== undefined) return;
          const answer = onQuestion(question);
          if (answer !== undefined) wire.post(answer.to, answer.message);
        },
        warn: host.warn,
      });
    const { namespace, warn } = host;
    this.#returns = new ReturnWatch({ namespace, warn, wire: () => host.wire });
    this.#surroundings = this.#surroundingsOf(host);
    this.#entries = new ChunkedDelivery((entry) => {
      if (entry.kind === "reply") member.onReply(entry.reply);
      else member.onBounced(entry.id);
    });
    const { service, batching, prefetch } = member;
    this.#calls = new CallBatcher(batching, {
      single: (to, message, settled) =>
        this.#publish({ exchange: "", key: namespace.calls(to) }, message, settled),
      batch: (to, message, settled) =>
        this.#publish({ exchange: "", key: namespace.batches(to) }, message, settled),
    });
    this.#census = new BatchCensus(service, namespace, () => host.wire);
    this.#replies = new ReplyBatcher({
      service,
      batching,
      appetite: new AdaptiveBatchLimit(batching, prefetch.calls),
      census: batching.isEager ? { allTake: true } : this.#census,
      post: (to, message, failed) => {
        if (this.#directReturns.mayAnswer(to)) host.wire?.post(to, message, failed);
      },
    });
  }

  get connected(): boolean {
    return this.#host.wire !== undefined;
  }

  get connections(): number {
    return this.#host.connections;
  }

  get congestion(): Gate | undefined {
    return this.#host.wire?.congestion;
  }

  get blocked(): string | undefined {
    return this.#host.wire?.blocked;
  }

  get refused(): ConfluoError | undefined {
    return this.#host.wire?.refused;
  }

  get detached(): readonly string[] {
    return this.#attachments.detached;
  }

  get stalled(): readonly string[] {
    return this.#returns.stalled;
  }

  get replyTo(): string {
    return this.#attachments.replies.address;
  }

  serve(): Promise<void> {
    return this.#attachments.serve();
  }

  bind(keys: readonly string[], per: "service" | "instance"): Promise<void> {
    return this.#attachments.bind(keys, per);
  }

  unbindInstance(key: string): Promise<void> {
    return this.#attachments.unbindInstance(key);
  }

  async openQuestions(): Promise<void> {
    await this.#questions?.open();
  }

  openReplies(): Promise<void> {
    return this.#attachments.openReplies();
  }

  lookForQueues(): void {
    this.#attachments.lookForQueues();
    this.#questions?.lookSoon();
  }

  call(service: string, message: Message, settled: Settled): void {
    this.#calls.call(service, message, settled);
  }

  callAlone(service: string, message: Message, settled: Settled): void {
    const { namespace } = this.#host;
    this.#publish({ exchange: "", key: namespace.again(namespace.calls(service)) }, message, settled);
  }

  send(service: string, message: Message, settled: Settled): void {
    this.#publish({ exchange: "", key: this.#host.namespace.inbox(service) }, message, settled);
  }

  publish(key: string, message: Message, settled: Settled): void {
    this.#publish({ exchange: this.#host.namespace.events, key }, message, settled);
  }

  reply(to: string, message: Message, failed?: Settled): void {
    this.#replies.reply(to, message, failed);
  }

  allow(messages: number): void {
    this.#attachments.allowCalls(messages);
  }

  async pause(keep?: "calls"): Promise<void> {
    if (keep === "calls") await this.#attachments.pauseAllButCalls();
    else await this.#attachments.pause(this.#replies.leave());
    this.#isolations.release();
    await Promise.all(this.#waitingOn);
  }

  async close(): Promise<void> {
    // These replies are for other callers than the one who shuts the service down.
    runOutsideContext(this.#entries.flush);
    this.#calls.flush();
    this.#replies.close();
    // No copy begins from here on. Those that have begun are confirmed and their originals acknowledged before the consumers
    // close: the broker returns what is not acknowledged by then, and both would be handled.
    this.#surroundings.isClosing = true;
    this.#returns.close();
    if (this.#copies.isAnything)
      await withinMs(CONFIRM_MS, this.#copies.ended(), () => undefined).catch(() => undefined);
    await Promise.all([this.#attachments.close(), this.#questions?.close()]);
    await this.#host.leave(this);
  }

  /** Does again, on a new wire, all that was asked for. */
  async restore(): Promise<void> {
    this.#directReturns.began();
    // Nothing waits for it: it never rejects, and all else works without it.
    void this.#questions?.restore();
    await this.#attachments.restore();
  }

  /** The wire is gone, and all that was attached to it. */
  forget(): void {
    this.#entries.flush();
    this.#census.forget();
    this.#isolations.forget();
    this.#putAside.forget();
    this.#directReturns.lost();
    this.#attachments.forget();
    this.#returns.end();
    this.#questions?.forget();
  }

  #onReply(message: Message): void {
    const takes = batchLimitOf(message);
    if (takes !== undefined) this.#calls.learn(String(message.properties.appId), takes);
    let entries: readonly ReplyEntry[] | undefined;
    try {
      entries = repliesIn(message);
    } catch (error) {
      this.#host.warn({ err: error }, "Gathered replies cannot be read; they are dropped.");
      return;
    }
    if (entries === undefined) {
      this.member.onReply(message);
      return;
    }
    this.#entries.add(entries);
  }

  #deliver(source: Source, wired: AmqpDelivery): void {
    const receivedAt = performance.now();
    if (this.#isolations.isUnderWay && !wired.redelivered)
      this.#isolations.hold(() => this.#take(source, wired, receivedAt));
    else this.#take(source, wired, receivedAt);
  }

  #take(source: Source, wired: AmqpDelivery, receivedAt: number): void {
    if (source.lane !== "calls" || source.alone) {
      this.#takeOne(source, wired, receivedAt);
      return;
    }
    const { replyTo } = wired.message.properties;
    const calls = readableCalls(wired.message);
    const asks = calls !== undefined || asksForBatches(wired.message);
    if (asks && typeof replyTo === "string") this.#replies.heard(replyTo);
    if (calls === undefined) {
      this.#takeOne(source, wired, receivedAt);
      return;
    }
    const gathered = new ReceivedBatch(wired, calls.length, this.#host.wire);
    for (const call of calls) this.#takeOne(source, gathered.delivery(call), receivedAt);
  }

  #takeOne(source: Source, wired: AmqpDelivery, receivedAt: number): void {
    const arrival = { link: this.#surroundings, receivedAt };
    if (source.alone && source.lane === "calls") this.#takeCallAlone(source, wired, arrival);
    else this.#handOver(new SessionDelivery(source, wired, arrival), wired);
  }

  #takeCallAlone(source: Source, wired: AmqpDelivery, arrival: DeliveryArrival): void {
    const looked = wired.redelivered ? this.#putAside.wasLookedAt(wired.message) : undefined;
    const take = (isOnlyLookedAt: boolean): void =>
      this.#handOver(new SessionDelivery(source, wired, { ...arrival, isOnlyLookedAt }), wired);
    if (looked === undefined) take(false);
    // Where the link is closed meanwhile, the broker delivers it again.
    else void looked.then((isLook) => wired.hold === "held" && !this.#surroundings.isClosing && take(isLook));
  }

  // Not while this instance does not consume it: then it cannot know what has happened since.
  async #countCallsAlone(): Promise<number> {
    const queue = this.#attachments.queueOf({ lane: "calls", alone: true });
    if (!this.#attachments.isConsumed("calls alone")) return 0;
    return (await this.#host.wire?.inspectQueue(queue))?.consumers ?? 0;
  }

  #handOver(delivery: SessionDelivery, wired: AmqpDelivery): void {
    const { expiresMs, waitMs } = delivery.envelope;
    // What waited in a delay queue has lost its expiration there, and may have lain in the inbox since for any time.
    const hasWaited = expiresMs !== undefined && wired.exchange === this.#host.namespace.back;
    if (!hasWaited && (delivery.lane !== "inbox" || waitMs === 0)) {
      this.member.onDelivery(delivery);
      return;
    }
    const work = hasWaited ? this.#deliverAged(delivery) : delivery.waitOn();
    const waiting = work.finally(() => this.#waitingOn.delete(waiting));
    this.#waitingOn.add(waiting);
  }

  async #deliverAged(delivery: SessionDelivery): Promise<void> {
    const { wire } = this.#host;
    const seconds = leftAt(delivery.message);
    const ageMs = seconds === undefined || wire === undefined ? 0 : await this.#clock.since(seconds, wire);
    // The broker delivers it again.
    if (this.#surroundings.isClosing || this.#host.wire !== wire) return;
    if (await delivery.aged(ageMs)) return;
    if (delivery.envelope.waitMs === 0) this.member.onDelivery(delivery);
    else await delivery.waitOn();
  }

  #surroundingsOf(host: SessionHost): DeliveryDependencies {
    const attachments = this.#attachments;
    const { namespace, newId, warn } = host;
    const { service, instance, onExpired } = this.member;
    let declaring: Promise<void> | undefined;
    const declareMoves = async (): Promise<void> => {
      const { wire } = host;
      if (wire === undefined) return;
      await host.declareShared(wire);
      const queues = [...namespace.durableQueues(service), ...namespace.callQueues(service)];
      await declareQueues(wire, queues);
    };
    return {
      instance,
      namespace,
      dead: namespace.dead(service),
      connection: host,
      isClosing: false,
      copies: this.#copies,
      isolations: this.#isolations,
      crowd: this.#crowd,
      putAside: this.#putAside,
      waits: (levelMs) => this.#returns.used(levelMs),
      queueOf: (source) => attachments.queueOf(source),
      // Once for all that failed at the same time: it takes some forty requests.
      declareMoves: () => {
        declaring ??= declareMoves().finally(() => {
          declaring = undefined;
        });
        return declaring;
      },
      newId,
      expired: onExpired,
      warn,
    };
  }

  #publish(
    route: { readonly exchange: string; readonly key: string },
    message: Message,
    settled: Settled,
  ): void {
    const { wire } = this.#host;
    if (wire === undefined) setImmediate(settled, "lost");
    else wire.publish(route, message, settled);
  }
}
