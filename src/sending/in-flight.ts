/** Messages that wait inside the process, within bounds: with a broker that is slow, blocked or gone, memory would grow without. */

import { randomFillSync } from "node:crypto";
import { SlotSet, type SlotSetItem } from "../async/slot-set.ts";
import { ConfluoError } from "../errors.ts";

const MOST_MESSAGES = 65_536;
const MOST_BYTES = 256 * 1024 * 1024;

/** A message that can be in an {@link InFlightSet}. */
export interface InFlightItem extends SlotSetItem {
  readonly path: string;
  /** Of its body, as long as that is held here. Only its set writes it. */
  bytes: number;
}

/** Messages of one kind that wait, and the bytes of their bodies as long as they are held here. */
export class InFlightSet<Item extends InFlightItem> extends SlotSet<Item> {
  /** The event that they wait for, in words that follow 'messages wait for'. */
  readonly #what: string;
  /** Of the bodies that are held. Only the set writes it. */
  bytes = 0;
  #whenEmpty: (() => void)[] = [];

  constructor(what: string) {
    super();
    this.#what = what;
  }

  /**
   * Adds a message. The first of all is taken whatever its size.
   *
   * @throws `OVERLOADED`.
   */
  override add(item: Item): void {
    const hasRoom = this.size < MOST_MESSAGES && this.bytes + item.bytes <= MOST_BYTES;
    if (this.size > 0 && !hasRoom) {
      throw new ConfluoError(
        "OVERLOADED",
        `${item.path} was not sent: ${this.size} messages wait for ${this.#what}, and more than ${MOST_MESSAGES} of them ` +
          `or ${MOST_BYTES} bytes would be too many. Await the promises of call, send and publish.`,
      );
    }
    super.add(item);
    this.bytes += item.bytes;
  }

  /** Accounts for a body of another length in place of the one that was held: 0 bytes once none is held. */
  resize(item: Item, bytes: number): void {
    this.bytes += bytes - item.bytes;
    item.bytes = bytes;
  }

  override delete(item: Item): boolean {
    if (!super.delete(item)) return false;
    this.bytes -= item.bytes;
    item.bytes = 0;
    if (this.size > 0 || this.#whenEmpty.length === 0) return true;
    const waiting = this.#whenEmpty;
    this.#whenEmpty = [];
    for (const resolve of waiting) resolve();
    return true;
  }

  /** Resolves when no message waits. */
  empty(): Promise<void> {
    if (this.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#whenEmpty.push(resolve));
  }
}

/** A call that can be in {@link InFlightCalls}, which alone write these. */
export interface InFlightCall extends InFlightItem {
  /** How many calls there were when it came. Together with its secret and its slot, its `correlation_id`. */
  serial: number;
  /** Random: without it, any service that was called once could answer the calls to others. */
  secret: string;
}

/**
 * Calls that wait for their answer. The slot of each is part of its id: a `Map` by id would be rebuilt over and over as they
 * come and go, as {@link SlotSet} says. The id is made when it is needed: it would be a tenth of what a waiting call takes.
 */
export class InFlightCalls<Call extends InFlightCall> extends InFlightSet<Call> {
  readonly #instance: string;
  readonly #secrets = new Secrets();
  #count = 0;

  /** @param instance begins each id: no other instance has one of these. */
  constructor(instance: string) {
    super("their answers");
    this.#instance = instance;
  }

  override add(call: Call): void {
    call.serial = ++this.#count;
    call.secret = this.#secrets.next();
    super.add(call);
  }

  /** Returns what the reply to a call has as `correlation_id`. */
  idOf({ secret, serial, slot }: Call): string {
    return `${this.#instance}-${secret}-${serial}.${slot}`;
  }

  /** Returns the call that has an id, if it still waits. */
  withId(id: string): Call | undefined {
    const call = this.items[Number(id.slice(id.lastIndexOf(".") + 1))];
    return call !== undefined && this.idOf(call) === id ? call : undefined;
  }
}

const SECRET_LENGTH = 11;
// A multiple of three, so that its base64url has no odd end; larger pools are no cheaper for each secret.
const POOL_BYTES = 6 * 1024;

/** Random texts of 11 characters, 66 bits each, cut from a pool: asking for randomness each time would be expensive. */
export class Secrets {
  #pool = "";
  #at = 0;

  next(): string {
    if (this.#at + SECRET_LENGTH > this.#pool.length) {
      this.#pool = randomFillSync(Buffer.allocUnsafe(POOL_BYTES)).toString("base64url");
      this.#at = 0;
    }
    const start = this.#at;
    this.#at += SECRET_LENGTH;
    return this.#pool.slice(start, this.#at);
  }
}
