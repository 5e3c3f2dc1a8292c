/** A count of the instances of a service that accept batches, since one instance does not know what the others accept. */

import type { SessionConnection } from "../session/connection-slot.ts";

/** How long a count is used, in milliseconds: while all instances accept batches, and while some do not. */
const ALL_MS = 5_000;
const SOME_MS = 1_000;

/**
 * Compares the number of consumers of a service's queue for batches with that of its queue for calls. Callers prefer the queue
 * for batches. If only some instances consumed it, the others would be idle. The broker is asked only when a caller wants to
 * know.
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

  /** True if all instances accepted batches at the last count. Starts a new count if that is too old. */
  get allTake(): boolean {
    const age = performance.now() - this.#countedAt;
    if (!this.#isCounting && age >= (this.#allTake ? ALL_MS : SOME_MS)) void this.#count();
    return this.#allTake && age < 2 * ALL_MS;
  }

  /** Forgets the count, because the connection that it came over is gone. */
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
    // If the broker does not answer, the result is 'no'.
    const [all, able] = await Promise.all([consumersOf(calls), consumersOf(batches)]).catch(
      () => [1, 0] as const,
    );
    this.#isCounting = false;
    if (this.#connection.client !== client) return;
    this.#allTake = able > 0 && able >= all;
    this.#countedAt = performance.now();
  }
}
