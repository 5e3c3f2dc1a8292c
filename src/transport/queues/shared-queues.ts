/** The queues that the instances of a service share: declared, bound and consumed on one wire after the other. */

import { settleAll } from "../../async/concurrently.ts";
import { isConfluoError } from "../../errors.ts";
import type { DeclaredQueue, Namespace } from "../../protocol/topology.ts";
import type { Source } from "../delivery/session-delivery.ts";
import type { AmqpClient, AmqpDelivery } from "../wire.ts";
import { madeOnce, type QueueCreation } from "./being-made.ts";
import { ConsumerSlot } from "./consumer-slot.ts";
import { bindAll, declare, declareQueues } from "./declare.ts";
import { type CallPlace, type SharedPlace, sources } from "./places.ts";

/** What shared queues need of the attachments that they are part of. */
export interface SharedQueuesDependencies {
  readonly service: string;
  readonly prefetch: { readonly calls: number; readonly inbox: number };
  /** Whether messages that hold several calls are welcome. */
  readonly takesBatches: boolean;
  readonly namespace: Namespace;
  /** Returns whether a wire is the present one, and anything granted on it is wanted. */
  isStanding(wire: AmqpClient): boolean;
  /** Returns whether a place may be consumed at the moment. */
  mayTake(place: SharedPlace): boolean;
  onDelivery(source: Source, delivery: AmqpDelivery): void;
  /** The broker ended a consumer: it is to be attached again soon. */
  onCancelled(place: SharedPlace): void;
  /** The consumer of a queue ended, with all that it had been given. */
  onEnded(place: SharedPlace): void;
  /** A queue cannot be had at the moment: it is to be tried again later. */
  onUnavailable(place: SharedPlace, error: unknown): void;
  warn(details: object, message: string): void;
}

const CALL_PLACES = ["calls", "calls batch"] as const;

/** A service's queues and their consumers, all but those of an instance alone. */
export class SharedQueues {
  readonly #parts: SharedQueuesDependencies;
  readonly #names: Readonly<Record<SharedPlace, string>>;
  readonly #slots: Readonly<Record<SharedPlace, ConsumerSlot>>;
  // Keys of bindings that stand.
  readonly #bound = new Set<string>();
  #declaredOn: AmqpClient | undefined;
  #callsAllowed: number;
  // All instances lose it in the same moment, and make it again together.
  #isInboxLost = false;

  constructor(parts: SharedQueuesDependencies) {
    this.#parts = parts;
    this.#callsAllowed = parts.prefetch.calls;
    const { namespace, service } = parts;
    const [calls, inbox] = [namespace.calls(service), namespace.inbox(service)];
    this.#names = {
      calls,
      inbox,
      "calls alone": namespace.again(calls),
      "calls batch": namespace.batches(service),
      "inbox alone": namespace.again(inbox),
    };
    const slot = (): ConsumerSlot => new ConsumerSlot((wire) => parts.isStanding(wire));
    this.#slots = {
      calls: slot(),
      inbox: slot(),
      "calls alone": slot(),
      "calls batch": slot(),
      "inbox alone": slot(),
    };
  }

  nameOf(place: SharedPlace): string {
    return this.#names[place];
  }

  isConsumed(place: SharedPlace): boolean {
    return this.#slots[place].isTaken;
  }

  isBound(key: string): boolean {
    return this.#bound.has(key);
  }

  /** Names of the queues that are not consumed. */
  get missing(): readonly string[] {
    const places = Object.keys(this.#slots) as SharedPlace[];
    const wanted = places.filter((place) => place !== "calls batch" || this.#parts.takesBatches);
    return wanted.filter((place) => !this.isConsumed(place)).map((place) => this.#names[place]);
  }

  /**
   * Declares the durable lane and binds it. Each once on a wire: what failed before is done when it is asked for again.
   */
  async bind(wire: AmqpClient, keys: Iterable<string>): Promise<void> {
    await this.#declare(wire, true);
    await this.#bindAll(wire, keys);
  }

  /** Consumes the durable lane, once it is bound. */
  async consumeInbox(wire: AmqpClient): Promise<void> {
    await settleAll([
      this.#consume(wire, "inbox"),
      this.#orLater("inbox alone", () => this.#consume(wire, "inbox alone")),
    ]);
  }

  /** The same on a wire that takes another's place: it goes on with what there is. */
  async resumeInbox(wire: AmqpClient, keys: Iterable<string>): Promise<void> {
    await this.#declare(wire, this.#isInboxLost);
    await settleAll([
      this.#orLater("inbox", () => this.#consume(wire, "inbox")),
      this.#orLater("inbox alone", () => this.#consume(wire, "inbox alone")),
      this.#bindAll(wire, keys),
    ]);
  }

  /** Declares and consumes the fast lane. */
  async consumeCalls(wire: AmqpClient): Promise<void> {
    // One after the other: where a node is down, a question about one of the two may take seconds, and the first is in need.
    await this.consumeCallsAt(wire, "calls");
    if (this.#parts.takesBatches) await this.consumeCallsAt(wire, "calls batch");
    await this.consumeCallsAt(wire, "calls alone");
  }

  /** The same for one queue of it. */
  async consumeCallsAt(wire: AmqpClient, place: CallPlace): Promise<void> {
    const [calls, again, batches] = this.#parts.namespace.callQueues(this.#parts.service);
    const plan = { calls, "calls alone": again, "calls batch": batches }[place];
    const attach = async (): Promise<void> => {
      await declare(wire, plan);
      await this.#consume(wire, place);
    };
    await this.#orLater(place, () =>
      attach().catch((error: unknown) => this.#attachAnew(wire, plan, { error, attach })),
    );
  }

  /** The inbox itself may be gone, and its bindings with it. */
  forgetInbox(): void {
    this.#isInboxLost = true;
    this.#declaredOn = undefined;
    this.#bound.clear();
  }

  /** Has so many messages of calls handed over before one of them is settled, on this wire and the next ones. */
  allowCalls(messages: number): void {
    this.#callsAllowed = messages;
    for (const place of CALL_PLACES) this.#slots[place].allow(messages);
  }

  async cancel(places: readonly SharedPlace[]): Promise<void> {
    await Promise.allSettled(places.map((place) => this.#slots[place].cancel()));
  }

  async close(): Promise<void> {
    await Promise.allSettled(Object.values(this.#slots).map((slot) => slot.close()));
  }

  /** The wire is gone, and all that was attached to it. */
  forget(): void {
    this.forgetInbox();
    this.#isInboxLost = false;
    for (const slot of Object.values(this.#slots)) slot.forget();
  }

  async #declare(wire: AmqpClient, isDoubtful: boolean): Promise<void> {
    if (this.#declaredOn === wire) return;
    const { namespace, service } = this.#parts;
    const queues = namespace.durableQueues(service);
    await madeOnce(wire, this.#making(wire, isDoubtful), () => declareQueues(wire, queues));
    this.#declaredOn = wire;
    this.#isInboxLost = false;
  }

  #making(wire: AmqpClient, isDoubtful: boolean): QueueCreation {
    const { inbox, "inbox alone": again, "calls alone": sign } = this.#names;
    const [, plan] = this.#parts.namespace.callQueues(this.#parts.service);
    return {
      queues: [inbox, again],
      sign,
      declareSign: () => declare(wire, plan),
      giveSign: () => this.consumeCallsAt(wire, "calls alone"),
      isSignGiven: () => this.isConsumed("calls alone"),
      isDoubtful,
    };
  }

  async #bindAll(wire: AmqpClient, keys: Iterable<string>): Promise<void> {
    await bindAll(wire, {
      queue: this.#names.inbox,
      exchange: this.#parts.namespace.events,
      keys: [...keys].filter((key) => !this.#bound.has(key)),
      onBound: (key) => {
        if (this.#parts.isStanding(wire)) this.#bound.add(key);
      },
    });
  }

  async #consume(wire: AmqpClient, place: SharedPlace): Promise<void> {
    const { prefetch, mayTake, onDelivery, onCancelled, onEnded, warn } = this.#parts;
    if (this.#slots[place].isTaken || !mayTake(place)) return;
    const queue = this.#names[place];
    await this.#slots[place].take(wire, {
      queue,
      prefetch: prefetchOf(place, prefetch),
      onDelivery: (delivery) => onDelivery(sources[place], delivery),
      onCancelled: (reason) => {
        warn({ queue, err: reason }, `The consumer of ${queue} was cancelled; attaching it again.`);
        onEnded(place);
        onCancelled(place);
      },
    });
    if (place === "calls" || place === "calls batch") this.#slots[place].allow(this.#callsAllowed);
  }

  // One queue that cannot be had must not hold up the others: it is tried again on its own.
  async #orLater(place: SharedPlace, attach: () => Promise<void>): Promise<void> {
    if (this.isConsumed(place)) return;
    try {
      await attach();
    } catch (error) {
      if (!isConfluoError(error, "UNAVAILABLE")) throw error;
      this.#parts.onUnavailable(place, error);
    }
  }

  // A calls queue lives on one node of a cluster. With that node down it can be neither declared nor consumed, and what it
  // held is worth nothing: another takes its place. RabbitMQ 3.10 does not allow that.
  async #attachAnew(
    wire: AmqpClient,
    { name: queue }: DeclaredQueue,
    { error, attach }: { readonly error: unknown; readonly attach: () => Promise<void> },
  ): Promise<void> {
    if (!isConfluoError(error, "UNAVAILABLE")) throw error;
    // Someone who consumes from it has made it anew already: then it need only be asked for again.
    await wire.deleteQueue(queue, "unused").catch((cause: unknown) => {
      if (!isConfluoError(cause, "TOPOLOGY_CONFLICT")) throw cause;
    });
    await attach();
    this.#parts.warn({ queue, err: error }, `${queue} was not available; it was made anew.`);
  }
}

function prefetchOf(place: SharedPlace, { calls, inbox }: SharedQueuesDependencies["prefetch"]): number {
  switch (place) {
    case "calls":
    case "calls batch":
      return calls;
    case "inbox":
      return inbox;
    case "calls alone":
    case "inbox alone":
      return 1;
    default:
      return place satisfies never;
  }
}
