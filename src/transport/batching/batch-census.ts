/** A count of the instances of a service that take batches: what one instance says of itself does not hold for its neighbours. */

import type { SessionConnection } from "../session/connection-slot.ts";

/** For how long an answer of the broker holds, in milliseconds: while all instances take batches, and while some do not. */
const ALL_MS = 5_000;
const SOME_MS = 1_000;

/**
 * Compares the consumers of a service's queue for batches with those of its queue for calls. Callers prefer the former, so
 * that a service of which only some instances take batches would leave the others idle. Nothing is asked of the broker
 * unless a caller wants to know.
 */
export class BatchCensus {
  readonly #service: string;
  readonly #connection: Pick<SessionConnection, "namespace" | "client">;
  #allTake = false;
  #countedAt = Number.NEGATIVE_INFINITY;
  #isCounting = false;

  constructor(service: string, connection: Pick<SessionConnection, "namespace" | "client">) {
    this.#service = service;
    this.#connection = connection;
  }

  /** Tells whether all instances took batches when the broker was last asked. Asks it again when that was too long ago. */
  get allTake(): boolean {
    const age = performance.now() - this.#countedAt;
    if (!this.#isCounting && age >= (this.#allTake ? ALL_MS : SOME_MS)) void this.#count();
    return this.#allTake && age < 2 * ALL_MS;
  }

  /** Forgets the answer: the connection that it came over is gone. */
  forget(): void {
    this.#allTake = false;
    this.#countedAt = Number.NEGATIVE_INFINITY;
  }

  async #count(): Promise<void> {
    const { client, namespace } = this.#connection;
    if (client === undefined) return;
    this.#isCounting = true;
    const consumersOf = async (queue: string): Promise<number> =>
      (await client.inspectQueue(queue))?.consumers ?? 0;
    const calls = namespace.calls(this.#service);
    const batches = namespace.batches(this.#service);
    // A broker that does not say leaves it at 'no'.
    const [all, able] = await Promise.all([consumersOf(calls), consumersOf(batches)]).catch(
      () => [1, 0] as const,
    );
    this.#isCounting = false;
    if (this.#connection.client !== client) return;
    this.#allTake = able > 0 && able >= all;
    this.#countedAt = performance.now();
  }
}
