/** A place for one consumer. */

import type { ConfluoError } from "../../errors.ts";
import type { AmqpClient, ConsumeOptions, Consumer } from "../wire.ts";

/** One consumer at a time: granted, ended by the broker, or taken away. */
export class ConsumerSlot {
  readonly #isStanding: (wire: AmqpClient) => boolean;
  #consumer: Consumer | undefined;
  #taking: { readonly wire: AmqpClient; readonly done: Promise<boolean> } | undefined;

  /** @param isStanding returns whether what is granted on a wire is still wanted. */
  constructor(isStanding: (wire: AmqpClient) => boolean) {
    this.#isStanding = isStanding;
  }

  get isTaken(): boolean {
    return this.#consumer !== undefined;
  }

  /**
   * Consumes. `onCancelled` is called only for the consumer that has the place at that time.
   *
   * @returns whether the consumer has the place: one that is granted too late is closed.
   */
  take(wire: AmqpClient, options: ConsumeOptions): Promise<boolean> {
    // Two that ask at the same time get one consumer: a second one would be nobody's, and never end.
    if (this.#taking?.wire === wire) return this.#taking.done;
    const taking = { wire, done: this.#take(wire, options) };
    this.#taking = taking;
    const end = (): void => {
      if (this.#taking === taking) this.#taking = undefined;
    };
    taking.done.then(end, end);
    return taking.done;
  }

  async #take(wire: AmqpClient, options: ConsumeOptions): Promise<boolean> {
    const own: { consumer?: Consumer; endedBy?: ConfluoError } = {};
    const consumer = await wire.consume({
      ...options,
      onCancelled: (reason) => {
        own.endedBy = reason;
        if (own.consumer === undefined || this.#consumer !== own.consumer) return;
        this.#consumer = undefined;
        options.onCancelled(reason);
      },
    });
    if (own.endedBy !== undefined) throw own.endedBy;
    // Closed, or the wire replaced, while the broker was asked: nothing else would end this consumer.
    if (!this.#isStanding(wire)) {
      await consumer.close();
      return false;
    }
    own.consumer = consumer;
    this.#consumer = consumer;
    return true;
  }

  /** Has the broker hand over so many messages before one of them is settled. */
  allow(deliveries: number): void {
    this.#consumer?.allow?.(deliveries);
  }

  /** Ends consuming; what was delivered can still be settled. */
  async cancel(): Promise<void> {
    await this.#consumer?.cancel();
  }

  /** Ends consuming and gives back what is unsettled. */
  async close(): Promise<void> {
    const consumer = this.#consumer;
    this.#consumer = undefined;
    await consumer?.close();
  }

  /** Empties the place: its consumer is gone with its wire. */
  forget(): void {
    this.#consumer = undefined;
  }
}
