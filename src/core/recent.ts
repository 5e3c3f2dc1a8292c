/** What this instance is doing and has done of late, by message: what the broker delivers again need not run again. */

import { hash } from "node:crypto";
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

// Twice this many at most: a set that is full becomes the older one, and the older one is forgotten.
const REMEMBERED = 8_192;

/** A memory with a bound. */
export class Recent {
  readonly #running = new Bag<Work>();
  #finished = new Set<string>();
  #finishedBefore = new Set<string>();

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
    const id = identityOf(delivery);
    if (id !== undefined) this.#remember(id);
  }

  /** The end of the work on a message that was begun here, if it is remembered. */
  find(delivery: Delivery): Promise<Ended | undefined> | undefined {
    const id = identityOf(delivery);
    if (id === undefined) return undefined;
    // By the message's own id first: a digest for each that runs would be dear.
    const { messageId } = delivery.origin;
    const running = this.#running.find(
      (work) => work.delivery.origin.messageId === messageId && identityOf(work.delivery) === id,
    );
    if (running !== undefined) return running.ended();
    if (!this.#finished.has(id) && !this.#finishedBefore.has(id)) return undefined;
    return delivery.lane === "calls" ? answered : finished;
  }

  #remember(id: string): void {
    this.#finished.add(id);
    if (this.#finished.size < REMEMBERED) return;
    this.#finishedBefore = this.#finished;
    this.#finished = new Set();
  }
}

// The answer of a call may be lost with its acknowledgement. It runs again, alone; nobody died on it.
const answered: Promise<Ended> = Promise.resolve({
  outcome: { kind: "isolate", subscriptions: [], deaths: 0 },
  stands: false,
});
const finished: Promise<Ended> = Promise.resolve({ outcome: { kind: "done" }, stands: true });

// A sender may use one id for all it sends. What is alike in the first 4 KiB and in length passes for the same.
function digestOf(body: Uint8Array): string {
  return `${body.length} ${hash("sha1", body.subarray(0, 4_096), "base64")}`;
}

// One message, one try, of a replay one that is new, and of an event that failed one subscription. A message without an id
// of its own gets a new one with each delivery, and so is never taken for another.
function identityOf({ lane, message, origin }: Delivery): string | undefined {
  const { replyTo, correlationId } = message.properties;
  if (lane === "calls") {
    // Of a foreign sender, they may be anything.
    const isNamed = typeof replyTo === "string" && typeof correlationId === "string" && correlationId !== "";
    return isNamed ? `call ${replyTo} ${correlationId}` : undefined;
  }
  // Going round is no try, and each round is another message: what had no handler here may have one by then.
  const { kind, path, messageId, attempt, unclaimedMs, replay, subscription = "" } = origin;
  const which = `${attempt} ${unclaimedMs} ${digestOf(message.body)}`;
  return `${kind} ${messageId} ${which} ${path} ${subscription} ${replay}`;
}
