/** A service's part of a connection: what it publishes and what it consumes. */

import type { Gate } from "../../async/gate.ts";
import { runOutsideContext } from "../../async/outside-context.ts";
import type { ConfluoError } from "../../errors.ts";
import type { Message } from "../../protocol/message.ts";
import type { AmqpClient, Route } from "../amqp-client.ts";
import { BatchCensus } from "../batching/batch-census.ts";
import { AdaptiveBatchLimit } from "../batching/batch-limit.ts";
import { CallBatcher, type CallOutlet } from "../batching/call-batcher.ts";
import { DirectReturns, ReplyBatcher } from "../batching/reply-batcher.ts";
import { Receiver } from "../delivery/receiver.ts";
import { losesMarks } from "../queues/renewal.ts";
import type { ServiceQueues } from "../queues/service-queues.ts";
import type { DelayedDelivery, Session, SessionListener, Settled } from "../transport.ts";
import type { SessionConnection } from "./connection-slot.ts";
import { publishDelayed } from "./delayed-publish.ts";
import { DiscoveryResponder } from "./discovery-responder.ts";

/** The shared connection, as a session sees it. */
export interface SessionHost extends SessionConnection {
  leave(session: AmqpSession): Promise<void>;
}

/** The {@link Session} over an {@link AmqpClient}. */
export class AmqpSession implements Session, CallOutlet {
  readonly member: SessionListener;
  readonly #host: SessionHost;
  readonly #receiver: Receiver;
  readonly #queues: ServiceQueues;
  readonly #questions: DiscoveryResponder | undefined;
  readonly #calls: CallBatcher;
  readonly #replies: ReplyBatcher;
  readonly #census: BatchCensus;
  readonly #directReturns = new DirectReturns();

  constructor(host: SessionHost, member: SessionListener) {
    this.#host = host;
    this.member = member;
    const { service, batching, prefetch } = member;
    this.#census = new BatchCensus(service, host);
    this.#calls = new CallBatcher(batching, host.namespace, this);
    this.#replies = new ReplyBatcher({
      service,
      batching,
      limit: new AdaptiveBatchLimit(batching, prefetch.calls),
      census: batching.isEager ? { allTake: true } : this.#census,
      connection: host,
      directReturns: this.#directReturns,
    });
    this.#receiver = new Receiver(host, member, { calls: this.#calls, replies: this.#replies });
    this.#queues = this.#receiver.queues;
    this.#questions = member.onQuestion && new DiscoveryResponder(host, member, this.#queues.consumers);
  }

  get connected(): boolean {
    return this.#host.client !== undefined;
  }

  get connections(): number {
    return this.#host.connections;
  }

  get mayReturnCalls(): boolean {
    const { client } = this.#host;
    return client !== undefined && losesMarks(client.server);
  }

  get congestion(): Gate | undefined {
    return this.#host.client?.congestion;
  }

  get blocked(): string | undefined {
    return this.#host.client?.blocked;
  }

  get refused(): ConfluoError | undefined {
    return this.#host.client?.refused;
  }

  get detached(): readonly string[] {
    return this.#queues.detached;
  }

  get stalled(): readonly string[] {
    return this.#receiver.levels.stalled;
  }

  get replyTo(): string {
    return this.#queues.replies.address;
  }

  serve(): Promise<void> {
    return this.#queues.serve();
  }

  bind(keys: readonly string[], per: "service" | "instance"): Promise<void> {
    return this.#queues.bind(keys, per);
  }

  unbindInstance(key: string): Promise<void> {
    return this.#queues.unbindInstance(key);
  }

  async openQuestions(): Promise<void> {
    await this.#questions?.open();
  }

  openReplies(): Promise<void> {
    return this.#queues.openReplies();
  }

  lookForQueues(): void {
    this.#queues.lookForQueues();
    this.#questions?.lookSoon();
  }

  call(service: string, message: Message, settled: Settled): void {
    this.#calls.call(service, message, settled);
  }

  callAlone(service: string, message: Message, settled: Settled): void {
    const { namespace } = this.#host;
    this.publishTo(namespace.again(namespace.calls(service)), message, settled);
  }

  send(service: string, message: Message, settled: Settled): void {
    this.publishTo(this.#host.namespace.inbox(service), message, settled);
  }

  publish(key: string, message: Message, settled: Settled): void {
    this.#publish({ exchange: this.#host.namespace.events, key }, message, settled);
  }

  delay(wait: DelayedDelivery, message: Message, settled: Settled): void {
    const { levels } = this.#receiver;
    void publishDelayed(this.#host, levels, { ...wait, message }).then(({ rejection, why }) =>
      settled(rejection, why),
    );
  }

  /** Publishes to a queue through the default exchange. */
  publishTo(queue: string, message: Message, settled: Settled): void {
    this.#publish({ exchange: "", key: queue }, message, settled);
  }

  #publish(route: Route, message: Message, settled: Settled): void {
    const { client } = this.#host;
    if (client === undefined) setImmediate(settled, "lost");
    else client.publish(route, message, settled);
  }

  reply(to: string, message: Message, failed?: Settled): Gate | undefined {
    this.#replies.reply(to, message, failed);
    return this.#host.client?.congestion;
  }

  allow(messages: number): void {
    this.#queues.allowCalls(messages);
  }

  async pause(keep?: "calls"): Promise<void> {
    if (keep === "calls") await this.#queues.pauseAllButCalls();
    else await this.#queues.pause(this.#replies.leave());
    await this.#receiver.goOn();
  }

  async close(): Promise<void> {
    const { replyEntries } = this.#receiver;
    // Outside of the context, because these replies are for other callers than the one that shuts the service down.
    if (replyEntries.waiting > 0) runOutsideContext(replyEntries.flush);
    if (this.#calls.waiting > 0) this.#calls.flush();
    this.#replies.close();
    const copies = this.#receiver.endCopies();
    if (copies !== undefined) await copies;
    this.#questions?.close();
    await this.#queues.close();
    await this.#host.leave(this);
  }

  /** Declares, binds and consumes again, on a new connection, everything that was requested. */
  async restore(): Promise<void> {
    this.#directReturns.began();
    // Not awaited: it never rejects, and everything else works without it.
    void this.#questions?.restore();
    await this.#queues.restore();
  }

  /** Forgets everything that belonged to the connection, because it is gone. */
  forget(): void {
    this.#receiver.forget();
    this.#census.forget();
    this.#directReturns.lost();
    this.#questions?.forget();
  }
}
