/**
 * Remembers routes for which the broker refuses messages, because a right or an exchange is missing. Messages for them use a
 * channel of their own.
 */

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

/** How long a refusal is remembered, in milliseconds. */
const KNOWN_MS = 5 * 60_000;
const MOST_SEEN = 1_024;

/** The recent refusals. A refusal is forgotten when the broker accepts a message for the same route. */
export class Refusals {
  readonly #onRefused: (error: ConfluoError) => void;
  readonly #seen = new Map<string, Seen>();

  /**
   * @param onRefused is called when a right is missing: once for each exchange, until the broker accepts a message for it
   * again.
   */
  constructor(onRefused: (error: ConfluoError) => void) {
    this.#onRefused = onRefused;
  }

  /** True if any refusal is remembered. Most of the time there is none. */
  get any(): boolean {
    return this.#seen.size > 0;
  }

  /** The error for the last right that was missing. */
  get present(): ConfluoError | undefined {
    let latest: ConfluoError | undefined;
    const now = performance.now();
    for (const { error, at } of this.#seen.values())
      if (error.code === "ACCESS_REFUSED" && now - at < KNOWN_MS) latest = error;
    return latest;
  }

  /** Returns whether a message for this route is likely to be refused. */
  has({ exchange, key }: Route): boolean {
    return this.#isKnown(nameOf({ exchange, key: undefined })) || this.#isKnown(nameOf({ exchange, key }));
  }

  /** Notes a refusal. */
  note(refused: Refused, error: ConfluoError): void {
    const isNew = error.code === "ACCESS_REFUSED" && !this.#hasAny(refused.exchange);
    const name = nameOf(refused);
    // Added at the end, so that the oldest entry is the first.
    this.#seen.delete(name);
    this.#seen.set(name, { error, at: performance.now() });
    const [oldest] = this.#seen.keys();
    if (this.#seen.size > MOST_SEEN && oldest !== undefined) this.#seen.delete(oldest);
    if (isNew) this.#onRefused(error);
  }

  /** Forgets the refusals for a route, because the broker accepted a message for it. */
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

// The separator is NUL, which no name of an exchange contains.
function nameOf({ exchange, key }: Refused): string {
  return key === undefined ? exchange : `${exchange}\0${key}`;
}
