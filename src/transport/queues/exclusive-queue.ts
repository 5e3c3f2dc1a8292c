/** A queue of a single instance, which the broker names. */

import { Lookout } from "../../async/lookout.ts";
import { ConfluoError, isConfluoError } from "../../errors.ts";
import type { AmqpClient, AmqpDelivery, QueueArguments } from "../amqp-client.ts";
import type { Consumers } from "./consumers.ts";
import { bindAll } from "./declare.ts";
import type { ExclusivePlace } from "./places.ts";

/** The parts that an {@link ExclusiveQueue} works with. */
export interface ExclusiveQueueDependencies {
  readonly place: ExclusivePlace;
  /** The purpose of the queue; completes the sentence 'The queue of …'. */
  readonly purpose: string;
  readonly arguments: QueueArguments;
  readonly prefetch: number | "no-ack";
  /** The exchange that the queue is bound to. */
  readonly exchange: string;
  /** The consumers of the service, which include the consumer of this queue. */
  readonly consumers: Consumers;
  /** Returns whether a consumer on this client is still wanted. */
  isStanding(client: AmqpClient): boolean;
  onDelivery(delivery: AmqpDelivery): void;
  /** Is called when the queue is gone with its consumer, so that it must be attached again. */
  onGone(): void;
  warn(details: object, message: string): void;
}

interface HeldQueue {
  readonly client: AmqpClient;
  readonly name: string;
  readonly bound: Set<string>;
}

/**
 * A queue with its bindings and its consumer, which exist only together. Some brokers lose such a queue without notifying its
 * consumer, so its existence is checked periodically.
 */
export class ExclusiveQueue {
  readonly #parts: ExclusiveQueueDependencies;
  readonly #lookout = new Lookout(() => this.#look());
  #held: HeldQueue | undefined;
  /** The name of the queue; empty while there is none. */
  name = "";
  /** The name of the queue while it is consumed; otherwise empty. */
  address = "";

  constructor(parts: ExclusiveQueueDependencies) {
    this.#parts = parts;
  }

  get isConsumed(): boolean {
    return this.#parts.consumers.isTaken(this.#parts.place);
  }

  isBound(key: string): boolean {
    return this.#held?.bound.has(key) ?? false;
  }

  /** Declares, binds and consumes, as far as that is not done yet. If it fails, a queue that is not consumed is dropped. */
  async attach(client: AmqpClient, keys: Iterable<string>): Promise<void> {
    const held = await this.#declared(client);
    if (held === undefined) return;
    try {
      await this.#bindAll(held, keys);
      if (!this.isConsumed) await this.#consume(held);
    } catch (error) {
      // The queue may be gone, and the next attempt declares another.
      if (!this.isConsumed) this.#drop(held);
      throw error;
    }
  }

  async unbind(key: string): Promise<void> {
    const held = this.#held;
    if (held === undefined) return;
    held.bound.delete(key);
    await held.client.unbind(held.name, this.#parts.exchange, key);
  }

  /** Checks soon whether the queue still exists. Called when an expected reply has not come. */
  lookSoon(): void {
    this.#lookout.soon();
  }

  /** Forgets the queue, because it is gone with its consumer or its connection. */
  forget(): void {
    if (this.#held === undefined) return;
    this.#lookout.end();
    this.#held = undefined;
    this.name = "";
    this.address = "";
  }

  async #declared(client: AmqpClient): Promise<HeldQueue | undefined> {
    if (this.#held?.client === client) return this.#held;
    const name = await client.declareQueue({ name: "", exclusive: true, arguments: this.#parts.arguments });
    // Such a queue is deleted with the connection on which it was declared.
    if (!this.#parts.isStanding(client)) return undefined;
    this.#held = { client, name, bound: new Set() };
    this.name = name;
    return this.#held;
  }

  async #bindAll({ client, name, bound }: HeldQueue, keys: Iterable<string>): Promise<void> {
    await bindAll(client, {
      queue: name,
      exchange: this.#parts.exchange,
      keys: [...keys].filter((key) => !bound.has(key)),
      onBound: (key) => bound.add(key),
    });
  }

  async #consume({ client, name }: HeldQueue): Promise<void> {
    const { place, consumers, prefetch, onDelivery } = this.#parts;
    const isTaken = await consumers.take(place, client, {
      queue: name,
      prefetch,
      onDelivery,
      onCancelled: (reason) => this.#gone(reason),
    });
    // The consumer may be cancelled in the turn in which it was granted.
    if (!isTaken || !this.isConsumed || this.#held?.name !== name) return;
    this.address = name;
    this.#lookout.begin();
  }

  // Deletes the queue. Without a consumer, it would otherwise exist until the connection ends.
  #drop(held: HeldQueue): void {
    if (this.#held === held) {
      this.#held = undefined;
      this.name = "";
    }
    held.client.deleteQueue(held.name).catch(() => undefined);
  }

  async #look(): Promise<void> {
    const held = this.#held;
    if (held === undefined || !this.isConsumed) return;
    try {
      const found = await held.client.inspectQueue(held.name);
      if (this.#held !== held || !this.isConsumed || found !== undefined) return;
    } catch (error) {
      // A refusal says nothing about the queue, and every further check would be refused, too.
      if (!isConfluoError(error, "ACCESS_REFUSED") || this.#held !== held) return;
      this.#lookout.end();
      const { purpose, warn } = this.#parts;
      warn(
        { err: error },
        `The queue of ${purpose} cannot be checked: if the broker loses it, the instance will not notice.`,
      );
      return;
    }
    void this.#parts.consumers.close([this.#parts.place]);
    this.#gone(new ConfluoError("UNAVAILABLE", `The broker lost ${held.name} without notice.`));
  }

  #gone(reason: ConfluoError): void {
    const { purpose, warn, onGone } = this.#parts;
    const { name } = this;
    this.forget();
    warn({ queue: name, err: reason }, `The queue of ${purpose} is gone; declaring it again.`);
    onGone();
  }
}
