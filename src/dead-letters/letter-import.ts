/** Publishes exported letters to a queue. */

import { invalidArgument } from "../errors.ts";
import type { Message } from "../protocol/message.ts";
import type { AmqpClient, AmqpDelivery, Route } from "../transport/amqp-client.ts";
import { exactProperties } from "./exact-copy.ts";
import { type DeadLetterRecord, fingerprintOf, messageOf } from "./letter-record.ts";
import { publishFailure } from "./publish-failure.ts";

/** The outcome of an import of letters. */
export interface ImportedDeadLetters {
  /** Number of letters that were published to the queue. */
  readonly imported: number;
  /** Number of letters that were skipped, because the queue already contains them. */
  readonly present: number;
}

/** The queue that letters are imported to. */
export interface ImportTarget {
  readonly queue: string;
  /** The exchange that routes the letters there by their own keys; `undefined` if the queue's name is the key. */
  readonly exchange: string | undefined;
}

interface Item {
  readonly message: Message;
  readonly key: string;
  /** Position in the list, from 1. */
  readonly number: number;
}

// Largest number of letters that await their confirms at a time.
const UNDER_WAY = 256;

/** An import of letters. It publishes nothing if one of the values is not an exported letter. */
export class LetterImport {
  readonly #target: ImportTarget;
  readonly #items: readonly Item[];
  /** Number of copies of each letter in the queue. */
  readonly #there = new Map<string, number>();
  #imported = 0;
  #present = 0;

  /** @throws `INVALID_ARGUMENT` for a value that is not an exported letter. */
  constructor(letters: Iterable<DeadLetterRecord>, target: ImportTarget) {
    this.#target = target;
    if (typeof letters !== "object" || letters === null || !(Symbol.iterator in letters))
      throw invalidArgument("Letters to import", "a list of letters that were exported", letters);
    this.#items = Array.from(letters, (record, at) => ({
      message: messageOf(record, `Letter ${at + 1}`),
      key: record.key,
      number: at + 1,
    }));
  }

  get done(): ImportedDeadLetters {
    return { imported: this.#imported, present: this.#present };
  }

  /** Records a letter that the queue already contains, so that the import skips it. */
  note(delivery: AmqpDelivery): void {
    const properties = exactProperties(delivery);
    if (properties === undefined) return;
    const print = this.#print({ body: delivery.message.body, properties }, delivery.key);
    this.#there.set(print, (this.#there.get(print) ?? 0) + 1);
  }

  /** Publishes the letters that the queue does not contain yet. */
  async run(client: AmqpClient, signal: AbortSignal): Promise<void> {
    for (let at = 0; at < this.#items.length; at += UNDER_WAY) {
      signal.throwIfAborted();
      const missing = this.#items.slice(at, at + UNDER_WAY).filter((item) => !this.#isThere(item));
      const ended = await Promise.allSettled(missing.map((item) => this.#put(client, item)));
      for (const each of ended) if (each.status === "rejected") throw each.reason;
    }
  }

  #isThere({ message, key }: Item): boolean {
    const print = this.#print(message, key);
    const count = this.#there.get(print) ?? 0;
    if (count === 0) return false;
    this.#there.set(print, count - 1);
    this.#present += 1;
    return true;
  }

  #print(message: Message, key: string): string {
    return fingerprintOf(message, this.#target.exchange === undefined ? undefined : key);
  }

  #put(client: AmqpClient, { message, key, number }: Item): Promise<void> {
    const { queue, exchange } = this.#target;
    const route: Route = exchange === undefined ? { exchange: "", key: queue } : { exchange, key };
    return new Promise((resolve, reject) => {
      client.publish(route, message, (failure, why) => {
        if (failure === undefined) {
          this.#imported += 1;
          resolve();
        } else reject(publishFailure(failure, { outcome: `Letter ${number} was not imported`, queue, why }));
      });
    });
  }
}
