/** Messages that wait inside the process, within bounds: with a broker that is slow, blocked or gone, memory would grow without. */

import { SlotSet, type SlotSetItem } from "../async/slot-set.ts";
import { ConfluoError } from "../errors.ts";
import { Secrets } from "../identity.ts";

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
    super.add(call);
    call.serial = ++this.#count;
    call.secret = this.#secrets.next();
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
