/** A queue of one instance alone, which the broker names. */

import { Lookout } from "../../async/lookout.ts";
import { ConfluoError, isConfluoError } from "../../errors.ts";
import type { AmqpClient, AmqpDelivery, QueueArguments } from "../amqp-client.ts";
import type { Consumers } from "./consumers.ts";
import { bindAll } from "./declare.ts";
import type { ExclusivePlace } from "./places.ts";

/** The parts that an exclusive queue works with. */
export interface ExclusiveQueueDependencies {
  readonly place: ExclusivePlace;
  /** In words that follow 'The queue of'. */
  readonly purpose: string;
  readonly arguments: QueueArguments;
  readonly prefetch: number | "no-ack";
  /** Where it is bound. */
  readonly exchange: string;
  /** Has the consumer of the queue, among others: whoever ends it ends this consumer, too. */
  readonly consumers: Consumers;
  /** Returns whether what is granted on a client is still wanted. */
  isStanding(client: AmqpClient): boolean;
  onDelivery(delivery: AmqpDelivery): void;
  /** The queue is gone, with its consumer: it is to be attached again. */
  onGone(): void;
  warn(details: object, message: string): void;
}

interface HeldQueue {
  readonly client: AmqpClient;
  readonly name: string;
  readonly bound: Set<string>;
}

/**
 * The queue, its bindings and its consumer: had together, and forgotten together. Some brokers lose such a queue without a
 * word to its consumer, so that it is looked for now and then.
 */
export class ExclusiveQueue {
  readonly #parts: ExclusiveQueueDependencies;
  readonly #lookout = new Lookout(() => this.#look());
  #held: HeldQueue | undefined;
  /** Its name; empty while there is none. */
  name = "";
  /** Its name while it is consumed; empty otherwise. */
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

  /** Does what is not done yet. After a failure nothing is left of a queue that is not consumed. */
  async attach(client: AmqpClient, keys: Iterable<string>): Promise<void> {
    const held = await this.#declared(client);
    if (held === undefined) return;
    try {
      await this.#bindAll(held, keys);
      if (!this.isConsumed) await this.#consume(held);
    } catch (error) {
      // Nothing says that it is still there; and each attempt has another.
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

  /** Has it looked for before its time: an answer that should have come has not. */
  lookSoon(): void {
    this.#lookout.soon();
  }

  /** Forgets the queue, which is gone with its consumer or with its connection. */
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
    // It ends with the connection that it was declared on.
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
    // It may have been cancelled in the very turn in which it was granted.
    if (!isTaken || !this.isConsumed || this.#held?.name !== name) return;
    this.address = name;
    this.#lookout.begin();
  }

  // Only the end of its consumer would delete it before the connection ends.
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
      // A refusal says nothing of the queue, and would be the answer to each further look.
      if (!isConfluoError(error, "ACCESS_REFUSED") || this.#held !== held) return;
      this.#lookout.end();
      const { purpose, warn } = this.#parts;
      warn(
        { err: error },
        `The queue of ${purpose} may not be looked for: should the broker lose it, none will tell.`,
      );
      return;
    }
    void this.#parts.consumers.close([this.#parts.place]);
    this.#gone(new ConfluoError("UNAVAILABLE", `The broker has lost ${held.name} and did not say so.`));
  }

  #gone(reason: ConfluoError): void {
    const { purpose, warn, onGone } = this.#parts;
    const { name } = this;
    this.forget();
    warn({ queue: name, err: reason }, `The queue of ${purpose} is gone; making it again.`);
    onGone();
  }
}
