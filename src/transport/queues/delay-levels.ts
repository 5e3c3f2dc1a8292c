/** Declares the delay levels when they are first needed, once for each connection. */

import { isConfluoError } from "../../errors.ts";
import { highestLevel, levelExchanges, levelQueues } from "../../protocol/delays.ts";
import type { Namespace } from "../../protocol/topology.ts";
import type { AmqpClient } from "../amqp-client.ts";
import { declareExchanges, declareQueues } from "./declare.ts";

/**
 * How often the levels in use are declared again, in milliseconds. If somebody deletes the queue of a level, messages from the
 * levels above wait until it exists again.
 */
const AGAIN_MS = 60_000;
/** The most inboxes to remember. */
const MOST_INBOXES = 1_000;

/** The delay levels that exist, and the inboxes behind them, as far as this connection knows. */
export class DelayLevels {
  readonly #namespace: Namespace;
  #client: AmqpClient | undefined;
  /** The levels whose queues were declared, one bit each. */
  #queues = 0;
  /** The highest level whose exchange was declared. */
  #top = -1;
  /** The levels that were used since they were last declared. */
  #used = 0;
  #declaredAt = 0;
  /** The inboxes that exist or are being looked for. */
  readonly #inboxes = new Map<string, Promise<boolean>>();
  #last: Promise<void> = Promise.resolve();

  constructor(namespace: Namespace) {
    this.#namespace = namespace;
  }

  /**
   * Declares what a pass needs that is not declared yet. A message must not be published before, because its wait would end in a
   * level that does not exist.
   *
   * @returns `undefined` if there is nothing to declare. Rejects if the broker refuses.
   */
  declare(client: AmqpClient, quarters: number): Promise<void> | undefined {
    this.#begin(client);
    if (!this.#has(quarters)) return this.#next(client, quarters);
    this.#used |= quarters;
    if (performance.now() - this.#declaredAt > AGAIN_MS) this.#again(client);
    return undefined;
  }

  /**
   * Returns whether an inbox exists, to which delayed messages are to return. One that exists is looked for once on each
   * connection. An inbox that this user may not look at counts as existing.
   */
  isThere(client: AmqpClient, inbox: string): Promise<boolean> {
    this.#begin(client);
    const known = this.#inboxes.get(inbox);
    if (known !== undefined) return known;
    const looking = lookFor(client, inbox);
    if (this.#inboxes.size < MOST_INBOXES) this.#inboxes.set(inbox, looking);
    const forget = (): void => {
      if (this.#inboxes.get(inbox) === looking) this.#inboxes.delete(inbox);
    };
    looking.then((isThere) => {
      if (!isThere) forget();
    }, forget);
    return looking;
  }

  #begin(client: AmqpClient): void {
    if (this.#client === client) return;
    this.forget();
    this.#client = client;
  }

  /** Forgets what was declared and found, because some of it may be gone. */
  forget(): void {
    this.#inboxes.clear();
    this.#queues = 0;
    this.#top = -1;
    this.#used = 0;
  }

  #has(quarters: number): boolean {
    return (quarters & ~this.#queues) === 0 && highestLevel(quarters) <= this.#top;
  }

  // One after the other, because most of what two passes need is the same.
  #next(client: AmqpClient, quarters: number): Promise<void> {
    const next = this.#last.then(async () => {
      if (this.#client === client && this.#has(quarters)) return;
      await this.#declareAll(client, quarters);
    });
    this.#last = next.catch(() => undefined);
    return next;
  }

  async #declareAll(client: AmqpClient, quarters: number): Promise<void> {
    // From the lowest on, and the exchanges before the queues, so that every level leads on as soon as it exists.
    await declareExchanges(client, levelExchanges(this.#namespace, quarters));
    await declareQueues(client, levelQueues(this.#namespace, quarters));
    if (this.#client !== client) return;
    if (this.#queues === 0) this.#declaredAt = performance.now();
    this.#queues |= quarters;
    this.#used |= quarters;
    this.#top = Math.max(this.#top, highestLevel(quarters));
  }

  // Runs in the background. After a failure, the next message finds out.
  #again(client: AmqpClient): void {
    const used = this.#used;
    this.#used = 0;
    this.#declaredAt = performance.now();
    this.#last = this.#last
      .then(() => this.#declareAll(client, used))
      .catch(() => {
        if (this.#client === client) this.forget();
      });
  }
}

async function lookFor(client: AmqpClient, inbox: string): Promise<boolean> {
  try {
    return (await client.inspectQueue(inbox)) !== undefined;
  } catch (error) {
    if (isConfluoError(error, "ACCESS_REFUSED") || isConfluoError(error, "UNAVAILABLE")) return true;
    throw error;
  }
}
