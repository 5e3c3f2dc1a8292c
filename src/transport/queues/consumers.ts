/** The consumers of a service, by what they consume. */

import type { ConfluoError } from "../../errors.ts";
import type { AmqpClient, ConsumeOptions, Consumer } from "../amqp-client.ts";
import type { ConsumedPlace } from "./places.ts";

/** A place for one consumer each: granted, ended by the broker, or taken away. */
export class Consumers {
  readonly #isStanding: (client: AmqpClient) => boolean;
  readonly #consumers = new Map<ConsumedPlace, Consumer>();
  readonly #taking = new Map<
    ConsumedPlace,
    { readonly client: AmqpClient; readonly done: Promise<boolean> }
  >();

  /** @param isStanding returns whether what is granted on a client is still wanted. */
  constructor(isStanding: (client: AmqpClient) => boolean) {
    this.#isStanding = isStanding;
  }

  isTaken(place: ConsumedPlace): boolean {
    return this.#consumers.has(place);
  }

  /**
   * Consumes. `onCancelled` is called only for the consumer that has the place at that time.
   *
   * @returns whether the consumer has the place: one that is granted too late is closed.
   */
  take(place: ConsumedPlace, client: AmqpClient, options: ConsumeOptions): Promise<boolean> {
    // Two that ask at the same time get one consumer: a second one would be nobody's, and never end.
    const before = this.#taking.get(place);
    if (before?.client === client) return before.done;
    const taking = { client, done: this.#take(place, client, options) };
    this.#taking.set(place, taking);
    const end = (): void => {
      if (this.#taking.get(place) === taking) this.#taking.delete(place);
    };
    taking.done.then(end, end);
    return taking.done;
  }

  async #take(place: ConsumedPlace, client: AmqpClient, options: ConsumeOptions): Promise<boolean> {
    const own: { consumer?: Consumer; endedBy?: ConfluoError } = {};
    const consumer = await client.consume({
      ...options,
      onCancelled: (reason) => {
        own.endedBy = reason;
        if (own.consumer === undefined || this.#consumers.get(place) !== own.consumer) return;
        this.#consumers.delete(place);
        options.onCancelled(reason);
      },
    });
    if (own.endedBy !== undefined) throw own.endedBy;
    // Closed, or the connection replaced, while the broker was asked: nothing else would end this consumer.
    if (!this.#isStanding(client)) {
      await consumer.close();
      return false;
    }
    own.consumer = consumer;
    this.#consumers.set(place, consumer);
    return true;
  }

  /** Has the broker hand over so many messages before one of them is settled. */
  allow(place: ConsumedPlace, deliveries: number): void {
    this.#consumers.get(place)?.allow?.(deliveries);
  }

  /** Ends consuming; what was delivered can still be settled. Never rejects. */
  async cancel(places: readonly ConsumedPlace[]): Promise<void> {
    const ending: (Promise<void> | undefined)[] = [];
    for (const place of places) ending.push(this.#consumers.get(place)?.cancel());
    await Promise.allSettled(ending);
  }

  /** Ends consuming and gives back what is unsettled. Never rejects. */
  async close(places: readonly ConsumedPlace[]): Promise<void> {
    const ending: (Promise<void> | undefined)[] = [];
    for (const place of places) {
      const consumer = this.#consumers.get(place);
      this.#consumers.delete(place);
      ending.push(consumer?.close());
    }
    await Promise.allSettled(ending);
  }

  /** Empties all places: their consumers are gone with their connection. */
  forget(): void {
    this.#consumers.clear();
  }
}
