/** The queues, bindings and consumers of a service, on the current connection. */

import { waitAtMost } from "../../async/abort.ts";
import { settleAll } from "../../async/concurrently.ts";
import { isConfluoError } from "../../errors.ts";
import { INSTANCE_EVENTS_ARGUMENTS, REPLIES_ARGUMENTS } from "../../protocol/topology.ts";
import type { AmqpClient } from "../amqp-client.ts";
import type { SessionConnection } from "../session/connection-slot.ts";
import type { SessionListener } from "../transport.ts";
import { Consumers } from "./consumers.ts";
import { ExclusiveQueue } from "./exclusive-queue.ts";
import {
  type Part,
  PLACES,
  type Place,
  partOf,
  type QueueReceiver,
  type ReattachTarget,
  type SharedPlace,
  type Source,
  sources,
} from "./places.ts";
import { SharedQueues } from "./shared-queues.ts";

/** How long to wait for the consumers to close, in milliseconds. */
const CLOSE_MS = 400;
/** The pause before a consumer is attached again, in milliseconds; it doubles up to the second value. */
const REATTACH_MS = 250;
const LAST_REATTACH_MS = 8_000;

/** Declares, binds and consumes what the session requests, and does it again on each new connection. */
export class ServiceQueues {
  readonly #connection: SessionConnection;

  // The bindings that were requested. They are declared again on every new connection.
  #serving = false;
  readonly #serviceKeys = new Set<string>();
  readonly #instanceKeys = new Set<string>();
  #replying = false;
  #hasServed = false;

  // The state of the current connection.
  /** The consumers of all queues, including the queue for discovery questions. */
  readonly consumers: Consumers;
  readonly #shared: SharedQueues;
  readonly #instance: ExclusiveQueue;
  /** The queue for replies. */
  readonly replies: ExclusiveQueue;
  readonly #reattaching = new Map<ReattachTarget, NodeJS.Timeout>();
  // The places that were already reported as unavailable.
  readonly #unavailable = new Set<Place>();
  readonly #work = new Map<Part, Promise<void>>();
  #openingReplies: Promise<void> | undefined;
  #state: "taking" | "calls only" | "paused" | "closed" = "taking";

  constructor(connection: SessionConnection, member: SessionListener, receiver: QueueReceiver) {
    this.#connection = connection;
    const { namespace, warn } = connection;
    const { service, prefetch } = member;
    const isStanding = (client: AmqpClient): boolean =>
      this.#state !== "closed" && connection.client === client;
    const consumers = new Consumers(isStanding);
    this.consumers = consumers;
    this.#shared = new SharedQueues({
      member,
      connection,
      consumers,
      receiver,
      isStanding,
      mayTake: (place) => this.#mayTake(place),
      onCancelled: (place) => this.#reattach(place, REATTACH_MS),
      onUnavailable: (place, error) => {
        this.#warnOnce(place, error);
        this.#reattach(place, LAST_REATTACH_MS);
      },
    });
    const own = { consumers, exchange: namespace.events, isStanding, warn };
    this.#instance = new ExclusiveQueue({
      ...own,
      place: "instance",
      purpose: `the events of an instance of ${service}`,
      arguments: INSTANCE_EVENTS_ARGUMENTS,
      prefetch: prefetch.inbox,
      onDelivery: receiver.takerOf(sources.instance),
      onGone: () => this.#reattach("instance", REATTACH_MS),
    });
    this.replies = new ExclusiveQueue({
      ...own,
      place: "replies",
      purpose: `the replies to an instance of ${service}`,
      arguments: REPLIES_ARGUMENTS,
      prefetch: "no-ack",
      onDelivery: receiver.onReply,
      onGone: () => this.#reattach("replies", REATTACH_MS),
    });
  }

  /** Checks soon whether the queues of this instance alone still exist. */
  lookForQueues(): void {
    this.replies.lookSoon();
    this.#instance.lookSoon();
  }

  /** Returns the name of a queue; empty while the broker has not named it. */
  queueOf({ lane, alone }: Source): string {
    if (lane === "instance") return this.#instance.name;
    const place: SharedPlace = alone ? `${lane} alone` : lane;
    return this.#shared.names[place];
  }

  get detached(): readonly string[] {
    const unbound = [
      ...[...this.#serviceKeys].filter((key) => !this.#shared.isBound(key)),
      ...[...this.#instanceKeys].filter((key) => !this.#instance.isBound(key)),
    ];
    return [
      ...(this.#serving ? this.#shared.missing : []),
      ...(this.#instanceKeys.size > 0 && !this.isConsumed("instance") ? ["events of this instance"] : []),
      ...(this.#replying && !this.isConsumed("replies") ? ["replies to this instance"] : []),
      ...unbound.map((key) => `binding of ${key}`),
    ];
  }

  /** Declares the service's queues and consumes them. */
  serve(): Promise<void> {
    this.#serving = true;
    return this.#enqueue("inbox", (client) => this.#attachService(client));
  }

  /** Binds keys to the inbox that the instances share, or to this instance's own queue. */
  bind(keys: readonly string[], per: "service" | "instance"): Promise<void> {
    const wanted = per === "service" ? this.#serviceKeys : this.#instanceKeys;
    for (const key of keys) wanted.add(key);
    // A queue with bindings must be consumed, even if this attempt fails.
    if (per === "service") this.#serving = true;
    const bound =
      per === "service"
        ? this.#enqueue("inbox", (client) => this.#shared.bind(client, keys))
        : this.#enqueue("instance", (client) => this.#attachInstance(client));
    // The caller gets the error. The binding is tried again in the background, because the caller may not do so.
    bound.catch(() => this.#bindLater());
    return bound;
  }

  unbindInstance(key: string): Promise<void> {
    this.#instanceKeys.delete(key);
    return this.#enqueue("instance", () => this.#instance.unbind(key));
  }

  openReplies(): Promise<void> {
    this.#replying = true;
    if (this.#openingReplies !== undefined) return this.#openingReplies;
    const opening = this.#enqueue("replies", (client) => this.replies.attach(client, [])).finally(() => {
      // After `forget`, this may be another attempt.
      if (this.#openingReplies === opening) this.#openingReplies = undefined;
    });
    this.#openingReplies = opening;
    opening.catch(() => this.#reattach("replies", LAST_REATTACH_MS));
    return opening;
  }

  /** Sets how many messages with calls the broker delivers before one of them is settled. */
  allowCalls(messages: number): void {
    this.#shared.allowCalls(messages);
  }

  /** Ends all consumers but those of replies and calls, so that running handlers can still make calls and be called. */
  async pauseAllButCalls(): Promise<void> {
    if (this.#state === "taking") await this.#end("calls only");
  }

  /**
   * Ends all consumers but that of the replies, so that running handlers can still make calls. Batches are consumed until
   * `leaving` settles, because callers may send some until then.
   */
  async pause(leaving: Promise<void>): Promise<void> {
    if (this.#state === "paused" || this.#state === "closed") return;
    await this.#end("paused");
    await leaving;
    await this.consumers.cancel(["calls batch"]);
  }

  async #end(state: "calls only" | "paused"): Promise<void> {
    this.#state = state;
    for (const [place, timer] of this.#reattaching)
      if (place === "bindings" || !this.#mayTake(place)) clearTimeout(timer);
    const ending = PLACES.filter((place) => place !== "calls batch" && !this.#mayTake(place));
    await this.consumers.cancel(ending);
    for (const [part, work] of [...this.#work]) if (part !== "replies") await work;
    await this.consumers.cancel(ending); // consumers that were attached meanwhile
  }

  #mayTake(place: Place): boolean {
    if (place === "replies" || this.#state === "taking") return true;
    return this.#state === "calls only" && partOf[place] === "calls";
  }

  /** Ends all consumers. Waits for the broker only for a short time. */
  async close(): Promise<void> {
    if (this.#state === "closed") return;
    this.#state = "closed";
    for (const timer of this.#reattaching.values()) clearTimeout(timer);
    // Only for a limited time, because a broker that does not answer must not delay a shutdown.
    for (const queue of [this.#instance, this.replies]) queue.forget();
    const ended = [...this.#work.values(), this.consumers.close([...PLACES, "discovery"])];
    await waitAtMost(CLOSE_MS, Promise.all(ended));
  }

  /** Declares, binds and consumes again, on a new connection, everything that was requested. No part waits for another. */
  async restore(): Promise<void> {
    const parts: Promise<void>[] = [];
    if (this.#replying) parts.push(this.#comeBack("replies"));
    if (this.#state === "calls only" && this.#serving) parts.push(this.#comeBack("calls"));
    if (this.#state === "taking") {
      if (this.#serving && this.#hasServed) parts.push(this.#comeBack("inbox"), this.#comeBack("calls"));
      else if (this.#serving) parts.push(this.serve());
      if (this.#instanceKeys.size > 0) parts.push(this.#comeBack("instance"));
    }
    await settleAll(parts);
  }

  /** Forgets everything that belonged to the connection, because it is gone. */
  forget(): void {
    for (const each of [this.#instance, this.replies, this.#shared]) each.forget();
    this.consumers.forget();
    for (const timer of this.#reattaching.values()) clearTimeout(timer);
    this.#reattaching.clear();
    // A request to that connection may never be answered. It must not delay requests to the next one.
    this.#work.clear();
    this.#openingReplies = undefined;
  }

  // Runs the work of each part one after the other: a binding needs its queue, and a restore must not overtake a bind.
  #enqueue(part: Part, work: (client: AmqpClient) => Promise<void>): Promise<void> {
    const next = (this.#work.get(part) ?? Promise.resolve()).then(async () => {
      const { client } = this.#connection;
      if (client === undefined || this.#state === "closed") return; // restored on the next connection, or not needed
      await work(client);
    });
    const settled = next.catch(() => undefined);
    this.#work.set(part, settled);
    return next;
  }

  // Attaches the inbox and the calls. On the first connect, an unavailable queue is an error, and bindings come before
  // consumers.
  async #attachService(client: AmqpClient): Promise<void> {
    if (this.#hasServed) return this.#shared.resumeInbox(client, this.#serviceKeys);
    await this.#shared.bind(client, this.#serviceKeys);
    await settleAll([
      this.#shared.consumeInbox(client),
      this.#enqueue("calls", (present) => this.#shared.consumeCalls(present)),
    ]);
    this.#hasServed = true;
  }

  async #attachInstance(client: AmqpClient): Promise<void> {
    if (this.#state === "taking") await this.#instance.attach(client, this.#instanceKeys);
  }

  #comeBack(part: Part): Promise<void> {
    return this.#enqueue(part, async (client) => {
      try {
        await this.#attachPart(client, part);
        this.#forgetUnavailable();
      } catch (error) {
        if (!isConfluoError(error, "UNAVAILABLE")) throw error;
        this.#warnOnce(part, error);
        if (part === "inbox") this.#bindLater();
        else this.#reattach(part, LAST_REATTACH_MS);
      }
    });
  }

  #attachPart(client: AmqpClient, part: Part): Promise<void> {
    switch (part) {
      case "replies":
        return this.replies.attach(client, []);
      case "instance":
        return this.#attachInstance(client);
      case "calls":
        return this.#shared.consumeCalls(client);
      case "inbox":
        return this.#attachService(client);
      default:
        return part satisfies never;
    }
  }

  // Logged once, not for each attempt.
  #warnOnce(place: Place, error: unknown): void {
    if (this.#unavailable.has(place)) return;
    this.#unavailable.add(place);
    const isOwn = place === "replies" || place === "instance";
    const queue = isOwn ? `The queue of this instance's ${place}` : this.#shared.names[place];
    this.#connection.warn({ queue, err: error }, `${queue} is not available; trying again.`);
  }

  #forgetUnavailable(): void {
    for (const place of this.#unavailable) if (this.isConsumed(place)) this.#unavailable.delete(place);
  }

  /** Returns whether a place is consumed at the moment. */
  isConsumed(place: Place): boolean {
    return this.consumers.isTaken(place);
  }

  #bindLater(): void {
    if (this.#state !== "taking") return;
    const attempt = (): void => {
      this.#reattaching.delete("bindings");
      settleAll([
        this.#enqueue("inbox", async (client) => {
          if (this.#serving) await this.#attachService(client);
        }),
        this.#enqueue("instance", async (client) => {
          if (this.#instanceKeys.size > 0) await this.#attachInstance(client);
        }),
      ]).catch(() => this.#bindLater());
    };
    clearTimeout(this.#reattaching.get("bindings"));
    this.#reattaching.set("bindings", setTimeout(attempt, LAST_REATTACH_MS));
  }

  #attach(client: AmqpClient, place: Place): Promise<void> {
    if (place === "calls" || place === "calls alone" || place === "calls batch")
      return this.#shared.consumeCallsAt(client, place);
    if (partOf[place] === "inbox") this.#shared.forgetInbox();
    return this.#attachPart(client, partOf[place]);
  }

  #reattach(place: Place, afterMs: number): void {
    if (this.#state === "closed" || !this.#mayTake(place)) return;
    const attempt = (): void => {
      this.#reattaching.delete(place);
      this.#enqueue(partOf[place], async (client) => {
        if (!this.isConsumed(place)) await this.#attach(client, place);
        this.#forgetUnavailable();
      }).catch((error: unknown) => {
        this.#connection.warn({ err: error, place }, `Could not attach the ${place} consumer again yet.`);
        this.#reattach(place, Math.min(afterMs * 2, LAST_REATTACH_MS));
      });
    };
    clearTimeout(this.#reattaching.get(place));
    this.#reattaching.set(place, setTimeout(attempt, afterMs));
  }
}
