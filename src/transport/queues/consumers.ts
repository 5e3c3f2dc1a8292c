/** The consumers of a service, by the place that they consume. */

import type { ConfluoError } from "../../errors.ts";
import type { AmqpClient, ConsumeOptions, Consumer } from "../amqp-client.ts";
import type { ConsumedPlace } from "./places.ts";

/** Holds at most one consumer for each place: one that was granted, until the broker ends it or it is closed. */
export class Consumers {
  readonly #isStanding: (client: AmqpClient) => boolean;
  readonly #consumers = new Map<ConsumedPlace, Consumer>();
  readonly #taking = new Map<
    ConsumedPlace,
    { readonly client: AmqpClient; readonly done: Promise<boolean> }
  >();

  /** @param isStanding returns whether a consumer on this client is still wanted. */
  constructor(isStanding: (client: AmqpClient) => boolean) {
    this.#isStanding = isStanding;
  }

  isTaken(place: ConsumedPlace): boolean {
    return this.#consumers.has(place);
  }

  /**
   * Consumes a place. `onCancelled` is called only for the consumer that holds the place at that time.
   *
   * @returns whether the consumer holds the place. A consumer that is granted too late is closed.
   */
  take(place: ConsumedPlace, client: AmqpClient, options: ConsumeOptions): Promise<boolean> {
    // Concurrent requests share one consumer: a second consumer would belong to nobody and never end.
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
    // The session was closed or the connection replaced meanwhile. Nothing else would end this consumer.
    if (!this.#isStanding(client)) {
      await consumer.close();
      return false;
    }
    own.consumer = consumer;
    this.#consumers.set(place, consumer);
    return true;
  }

  /** Sets how many messages the broker delivers before one of them is settled. */
  allow(place: ConsumedPlace, deliveries: number): void {
    this.#consumers.get(place)?.allow?.(deliveries);
  }

  /** Stops consuming; deliveries in hand can still be settled. Never rejects. */
  async cancel(places: readonly ConsumedPlace[]): Promise<void> {
    const ending: (Promise<void> | undefined)[] = [];
    for (const place of places) ending.push(this.#consumers.get(place)?.cancel());
    await Promise.allSettled(ending);
  }

  /** Stops consuming and returns unsettled messages to their queues. Never rejects. */
  async close(places: readonly ConsumedPlace[]): Promise<void> {
    const ending: (Promise<void> | undefined)[] = [];
    for (const place of places) {
      const consumer = this.#consumers.get(place);
      this.#consumers.delete(place);
      ending.push(consumer?.close());
    }
    await Promise.allSettled(ending);
  }

  /** Forgets all consumers, because they are gone with their connection. */
  forget(): void {
    this.#consumers.clear();
  }
}
