/** A queue of one instance alone, which the broker names. */

import { Lookout } from "../../async/lookout.ts";
import { ConfluoError, isConfluoError } from "../../errors.ts";
import type { AmqpClient, AmqpDelivery, QueueArguments } from "../wire.ts";
import { ConsumerSlot } from "./consumer-slot.ts";
import { bindAll } from "./declare.ts";

/** What an exclusive queue needs of those that use it. */
export interface ExclusiveQueueDependencies {
  /** In words that follow 'The queue of'. */
  readonly purpose: string;
  readonly arguments: QueueArguments;
  readonly prefetch: number | "no-ack";
  /** Where it is bound. */
  readonly exchange: string;
  /** Returns whether what is granted on a wire is still wanted. */
  isStanding(wire: AmqpClient): boolean;
  onDelivery(delivery: AmqpDelivery): void;
  /** The queue is gone, with its consumer: it is to be attached again. */
  onGone(): void;
  warn(details: object, message: string): void;
}

interface HeldQueue {
  readonly wire: AmqpClient;
  readonly name: string;
  readonly bound: Set<string>;
}

/**
 * The queue, its bindings and its consumer: had together, and forgotten together. Some brokers lose such a queue without a
 * word to its consumer, so that it is looked for now and then.
 */
export class ExclusiveQueue {
  readonly #parts: ExclusiveQueueDependencies;
  readonly #slot: ConsumerSlot;
  readonly #lookout = new Lookout(() => this.#look());
  #held: HeldQueue | undefined;
  /** Its name while it is consumed; empty otherwise. */
  address = "";

  constructor(parts: ExclusiveQueueDependencies) {
    this.#parts = parts;
    this.#slot = new ConsumerSlot((wire) => parts.isStanding(wire));
  }

  get isConsumed(): boolean {
    return this.#slot.isTaken;
  }

  /** Empty while there is none. */
  get name(): string {
    return this.#held?.name ?? "";
  }

  isBound(key: string): boolean {
    return this.#held?.bound.has(key) ?? false;
  }

  /** Does what is not done yet. After a failure nothing is left of a queue that is not consumed. */
  async attach(wire: AmqpClient, keys: Iterable<string>): Promise<void> {
    const held = await this.#declared(wire);
    if (held === undefined) return;
    try {
      await this.#bindAll(held, keys);
      if (!this.#slot.isTaken) await this.#consume(held);
    } catch (error) {
      // Nothing says that it is still there; and each attempt has another.
      if (!this.#slot.isTaken) this.#drop(held);
      throw error;
    }
  }

  async unbind(key: string): Promise<void> {
    const held = this.#held;
    if (held === undefined) return;
    held.bound.delete(key);
    await held.wire.unbind(held.name, this.#parts.exchange, key);
  }

  /** Has it looked for before its time: an answer that should have come has not. */
  lookSoon(): void {
    this.#lookout.soon();
  }

  cancel(): Promise<void> {
    return this.#slot.cancel();
  }

  close(): Promise<void> {
    this.#forget();
    return this.#slot.close();
  }

  /** The wire is gone, and the queue with it. */
  forget(): void {
    this.#forget();
    this.#slot.forget();
  }

  #forget(): void {
    this.#lookout.end();
    this.#held = undefined;
    this.address = "";
  }

  async #declared(wire: AmqpClient): Promise<HeldQueue | undefined> {
    if (this.#held?.wire === wire) return this.#held;
    const name = await wire.declareQueue({ name: "", exclusive: true, arguments: this.#parts.arguments });
    // It ends with the wire that it was declared on.
    if (!this.#parts.isStanding(wire)) return undefined;
    this.#held = { wire, name, bound: new Set() };
    return this.#held;
  }

  async #bindAll({ wire, name, bound }: HeldQueue, keys: Iterable<string>): Promise<void> {
    await bindAll(wire, {
      queue: name,
      exchange: this.#parts.exchange,
      keys: [...keys].filter((key) => !bound.has(key)),
      onBound: (key) => bound.add(key),
    });
  }

  async #consume({ wire, name }: HeldQueue): Promise<void> {
    const { prefetch, onDelivery } = this.#parts;
    const isTaken = await this.#slot.take(wire, {
      queue: name,
      prefetch,
      onDelivery,
      onCancelled: (reason) => this.#gone(reason),
    });
    // It may have been cancelled in the very turn in which it was granted.
    if (!isTaken || !this.#slot.isTaken || this.#held?.name !== name) return;
    this.address = name;
    this.#lookout.begin();
  }

  // Only the end of its consumer would delete it before the connection ends.
  #drop(held: HeldQueue): void {
    if (this.#held === held) this.#held = undefined;
    held.wire.deleteQueue(held.name).catch(() => undefined);
  }

  async #look(): Promise<void> {
    const held = this.#held;
    if (held === undefined || !this.#slot.isTaken) return;
    try {
      const found = await held.wire.inspectQueue(held.name);
      if (this.#held !== held || !this.#slot.isTaken || found !== undefined) return;
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
    void this.#slot.close().catch(() => undefined);
    this.#gone(new ConfluoError("UNAVAILABLE", `The broker has lost ${held.name} and did not say so.`));
  }

  #gone(reason: ConfluoError): void {
    const { purpose, warn, onGone } = this.#parts;
    const { name } = this;
    this.#forget();
    warn({ queue: name, err: reason }, `The queue of ${purpose} is gone; making it again.`);
    onGone();
  }
}
