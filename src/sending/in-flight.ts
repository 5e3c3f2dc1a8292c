/**
 * The messages that wait in this process for an answer or a confirm. Their number and size are bounded: otherwise memory would
 * grow without limit while the broker is slow, blocked or unreachable.
 */

import { randomFillSync } from "node:crypto";
import { SlotSet, type SlotSetItem } from "../async/slot-set.ts";
import { ConfluoError } from "../errors.ts";

const MOST_MESSAGES = 65_536;
const MOST_BYTES = 256 * 1024 * 1024;

/** A message that can be in an {@link InFlightSet}. */
export interface InFlightItem extends SlotSetItem {
  readonly path: string;
  /** The length of its body while this process holds the body, else 0. Only the set writes this field. */
  bytes: number;
}

/** The waiting messages of one kind, and the total size of the bodies that this process holds for them. */
export class InFlightSet<Item extends InFlightItem> extends SlotSet<Item> {
  /** The event that the messages wait for; completes the sentence 'messages wait for …'. */
  readonly #what: string;
  /** The total length of the bodies that are held. Only the set writes this field. */
  bytes = 0;
  #whenEmpty: (() => void)[] = [];

  constructor(what: string) {
    super();
    this.#what = what;
  }

  /**
   * Adds a message. An empty set accepts a message of any size.
   *
   * @throws `OVERLOADED` if there would be more than 65,536 messages or 256 MiB of bodies.
   */
  override add(item: Item): void {
    const hasRoom = this.size < MOST_MESSAGES && this.bytes + item.bytes <= MOST_BYTES;
    if (this.size > 0 && !hasRoom) {
      throw new ConfluoError(
        "OVERLOADED",
        `${item.path} was not sent: ${this.size} messages wait for ${this.#what}, and the limit is ${MOST_MESSAGES} ` +
          `messages or ${MOST_BYTES} bytes of bodies. Await the promises of call, send and publish.`,
      );
    }
    super.add(item);
    this.bytes += item.bytes;
  }

  /** Replaces the length of a message's body in the total; 0 when this process no longer holds the body. */
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

  /** Resolves when the set is empty. */
  empty(): Promise<void> {
    if (this.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#whenEmpty.push(resolve));
  }
}

/** A call that can be in {@link InFlightCalls}. Only that set writes the two fields. */
export interface InFlightCall extends InFlightItem {
  /** The number of the call, counted from 1 in this instance. Secret, serial and slot together make the `correlation_id`. */
  serial: number;
  /** A random text. Without it, a service that was called once could guess the ids of other calls and answer them. */
  secret: string;
}

/**
 * The calls that wait for their answer. The id of each call contains its slot, so that no `Map` by id is needed: a `Map` would
 * be rebuilt repeatedly as calls come and go (see {@link SlotSet}). The id is built only when it is needed, because storing it
 * would add a tenth to the memory that a waiting call takes.
 */
export class InFlightCalls<Call extends InFlightCall> extends InFlightSet<Call> {
  readonly #instance: string;
  readonly #secrets = new Secrets();
  #count = 0;

  /** @param instance the first part of each id, which keeps the ids of different instances apart. */
  constructor(instance: string) {
    super("their answers");
    this.#instance = instance;
  }

  override add(call: Call): void {
    call.serial = ++this.#count;
    call.secret = this.#secrets.next();
    super.add(call);
  }

  /** Returns the `correlation_id` of a call and of its reply. */
  idOf({ secret, serial, slot }: Call): string {
    return `${this.#instance}-${secret}-${serial}.${slot}`;
  }

  /** Returns the call with this id, or `undefined` if it no longer waits. */
  withId(id: string): Call | undefined {
    const call = this.items[Number(id.slice(id.lastIndexOf(".") + 1))];
    return call !== undefined && this.idOf(call) === id ? call : undefined;
  }
}

const SECRET_LENGTH = 11;
// A multiple of three, so that base64url needs no padding. Larger pools do not make a secret cheaper.
const POOL_BYTES = 6 * 1024;

/**
 * Random texts of 11 base64url characters (66 bits). They are cut from a pool, because one request for random bytes per call
 * would be expensive.
 */
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
