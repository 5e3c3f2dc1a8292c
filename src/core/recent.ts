/** What this instance is doing and has done of late, by message: what the broker delivers again need not run again. */

import { crc32 } from "node:zlib";
import type { Origin } from "../protocol/origin.ts";
import type { Outcome } from "../retry/outcome.ts";
import type { Delivery } from "../transport/transport.ts";
import { Bag, type Bagged } from "./bag.ts";

/** How the work on a message ended; `undefined` if a shutdown stopped waiting for it. */
export interface Ended {
  readonly outcome: Outcome;
  /** Whether the message needs nothing more, though its acknowledgement may be lost. */
  readonly stands: boolean;
}

/** Work on one delivery. */
export class Work implements Bagged {
  readonly delivery: Delivery;
  place = -1;
  #isOver = false;
  #ended: Ended | undefined;
  #waiting: ((ended: Ended | undefined) => void)[] | undefined;

  /** How long it waited here before it began, in milliseconds. */
  readonly heldMs: number;

  constructor(delivery: Delivery, heldMs: number) {
    this.delivery = delivery;
    this.heldMs = heldMs;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Is told once how it ended. */
  end(ended: Ended | undefined): void {
    this.#isOver = true;
    this.#ended = ended;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting !== undefined) for (const resolve of waiting) resolve(ended);
  }

  ended(): Promise<Ended | undefined> {
    if (this.#isOver) return Promise.resolve(this.#ended);
    return new Promise((resolve) => {
      this.#waiting ??= [];
      this.#waiting.push(resolve);
    });
  }
}

const REMEMBERED = 16_384;

/** A memory with a bound. */
export class Recent {
  readonly #running = new Bag<Work>();
  /** The newest takes the place of the oldest. They are many and asked for rarely: no index is worth its cost. */
  readonly #finished: Trace[] = [];
  #next = 0;

  /** Work goes on. */
  begin(work: Work): void {
    this.#running.add(work);
  }

  /** Work has ended, be it that it never went on. Remembers what has ended for good. */
  end(work: Work, ended: Ended | undefined): void {
    this.#running.delete(work);
    work.end(ended);
    const { delivery } = work;
    // A call that comes again is tried alone, answered or not; only then does it matter whether this instance survived it.
    if (ended?.stands !== true || (delivery.lane === "calls" && delivery.record !== "alone")) return;
    const id = idOf(delivery);
    if (id === undefined) return;
    this.#finished[this.#next] = new Trace(id, delivery);
    this.#next = (this.#next + 1) % REMEMBERED;
  }

  /** The end of the work on a message that was begun here, if it is remembered. */
  find(delivery: Delivery): Promise<Ended | undefined> | undefined {
    const id = idOf(delivery);
    if (id === undefined) return undefined;
    const trace = new Trace(id, delivery);
    const running = this.#running.find(
      (work) => idOf(work.delivery) === id && trace.equals(new Trace(id, work.delivery)),
    );
    if (running !== undefined) return running.ended();
    if (!this.#finished.some((past) => trace.equals(past))) return undefined;
    return delivery.lane === "calls" ? answered : finished;
  }
}

// The answer of a call may be lost with its acknowledgement. It runs again, alone; nobody died on it.
const answered: Promise<Ended> = Promise.resolve({
  outcome: { kind: "isolate", subscriptions: [], deaths: 0 },
  stands: false,
});
const finished: Promise<Ended> = Promise.resolve({ outcome: { kind: "done" }, stands: true });

// A message without an id of its own gets a new one with each delivery, and so is never taken for another.
function idOf({ lane, message, origin }: Delivery): string | undefined {
  if (lane !== "calls") return origin.messageId;
  const { replyTo, correlationId } = message.properties;
  // Of a foreign sender, they may be anything.
  const isNamed = typeof replyTo === "string" && typeof correlationId === "string" && correlationId !== "";
  return isNamed ? `${replyTo} ${correlationId}` : undefined;
}

/** What tells a message from others: its id alone does not, since a sender may use one for all it sends. */
class Trace {
  readonly id: string;
  readonly kind: Origin["kind"];
  readonly path: string;
  readonly attempt: number;
  /** Going round is no try, and each round is another message: what had no handler here may have one by then. */
  readonly unclaimedMs: number;
  readonly replay: string;
  /** Of an event that failed, there is one message for each subscription. */
  readonly subscription: string | undefined;
  readonly bytes: number;
  readonly sum: number;

  constructor(id: string, { message: { body }, origin }: Delivery) {
    this.id = id;
    this.kind = origin.kind;
    this.path = origin.path;
    this.attempt = origin.attempt;
    this.unclaimedMs = origin.unclaimedMs;
    this.replay = origin.replay;
    this.subscription = origin.subscription;
    this.bytes = body.length;
    this.sum = sumOf(body);
  }

  equals(other: Trace): boolean {
    return (
      this.sum === other.sum &&
      this.id === other.id &&
      this.bytes === other.bytes &&
      this.attempt === other.attempt &&
      this.unclaimedMs === other.unclaimedMs &&
      this.path === other.path &&
      this.subscription === other.subscription &&
      this.replay === other.replay &&
      this.kind === other.kind
    );
  }
}

// What is alike in length and in the checksum of its first 4 KiB passes for the same.
function sumOf(body: Uint8Array): number {
  return crc32(body.length > 4_096 ? body.subarray(0, 4_096) : body);
}
