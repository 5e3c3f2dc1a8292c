/** The routes that the broker refuses to take, for want of a right or an exchange: so that it costs no other message its channel. */

import type { ConfluoError } from "../../../errors.ts";
import type { Route } from "../../amqp-client.ts";

/** The object of a refusal: an exchange, or one routing key of it. */
export interface Refused {
  readonly exchange: string;
  readonly key: string | undefined;
}

interface Seen {
  readonly error: ConfluoError;
  readonly at: number;
}

/** After that long nobody knows what the broker would say now. */
const KNOWN_MS = 5 * 60_000;
const MOST_SEEN = 1_024;

/** Refusals of late, until the broker takes the same again. */
export class Refusals {
  readonly #onRefused: (error: ConfluoError) => void;
  readonly #seen = new Map<string, Seen>();

  /** @param onRefused is told of a missing right, once for each exchange, until the broker takes something for it again. */
  constructor(onRefused: (error: ConfluoError) => void) {
    this.#onRefused = onRefused;
  }

  /** Returns whether anything at all is known: most of the time nothing is. */
  get any(): boolean {
    return this.#seen.size > 0;
  }

  /** The latest missing right. */
  get present(): ConfluoError | undefined {
    let latest: ConfluoError | undefined;
    const now = performance.now();
    for (const { error, at } of this.#seen.values())
      if (error.code === "ACCESS_REFUSED" && now - at < KNOWN_MS) latest = error;
    return latest;
  }

  /** Returns whether a message for this route may well be refused. */
  has({ exchange, key }: Route): boolean {
    return this.#isKnown(nameOf({ exchange, key: undefined })) || this.#isKnown(nameOf({ exchange, key }));
  }

  /** The broker refused something. */
  note(refused: Refused, error: ConfluoError): void {
    const isNew = error.code === "ACCESS_REFUSED" && !this.#hasAny(refused.exchange);
    const name = nameOf(refused);
    // Behind all others, so that the oldest is the first.
    this.#seen.delete(name);
    this.#seen.set(name, { error, at: performance.now() });
    const [oldest] = this.#seen.keys();
    if (this.#seen.size > MOST_SEEN && oldest !== undefined) this.#seen.delete(oldest);
    if (isNew) this.#onRefused(error);
  }

  /** The broker took a message for this route. */
  taken({ exchange, key }: Route): void {
    this.#seen.delete(nameOf({ exchange, key: undefined }));
    this.#seen.delete(nameOf({ exchange, key }));
  }

  #isKnown(name: string): boolean {
    const seen = this.#seen.get(name);
    if (seen === undefined) return false;
    if (performance.now() - seen.at < KNOWN_MS) return true;
    this.#seen.delete(name);
    return false;
  }

  #hasAny(exchange: string): boolean {
    const now = performance.now();
    const start = nameOf({ exchange, key: "" });
    for (const [name, { error, at }] of this.#seen) {
      if (error.code !== "ACCESS_REFUSED" || now - at >= KNOWN_MS) continue;
      if (name === exchange || name.startsWith(start)) return true;
    }
    return false;
  }
}

// No name of an exchange has a NUL in it.
function nameOf({ exchange, key }: Refused): string {
  return key === undefined ? exchange : `${exchange}\0${key}`;
}
