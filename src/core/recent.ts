/** What this instance is doing and has done of late, by message: what the broker delivers again need not run again. */

import { hash } from "node:crypto";
import type { Outcome } from "../retry/outcome.ts";
import type { Delivery } from "../transport/transport.ts";

/** How the work on a message ended; `undefined` if a shutdown stopped waiting for it. */
export interface Ended {
  readonly outcome: Outcome;
  /** Whether the message needs nothing more, though its acknowledgement may be lost. */
  readonly stands: boolean;
}

// Twice this many at most: a set that is full becomes the older one, and the older one is forgotten.
const REMEMBERED = 8_192;

/** A memory with a bound. */
export class Recent {
  readonly #running = new Map<string, Promise<Ended | undefined>>();
  #finished = new Set<string>();
  #finishedBefore = new Set<string>();

  /** Remembers work on a delivery: while it goes on, and when it has ended for good. */
  track(delivery: Delivery, work: Promise<Ended | undefined>): void {
    const id = identityOf(delivery);
    if (id === undefined) return;
    this.#running.set(id, work);
    const forget = (): void => {
      if (this.#running.get(id) === work) this.#running.delete(id);
    };
    work.then((ended) => {
      forget();
      if (ended?.stands === true) this.#remember(id);
    }, forget);
  }

  /** The end of the work on a message that was begun here, if it is remembered. */
  find(delivery: Delivery): Promise<Ended | undefined> | undefined {
    const id = identityOf(delivery);
    if (id === undefined) return undefined;
    const running = this.#running.get(id);
    if (running !== undefined) return running;
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

// One message, one try, of a replay one that is new, and of an event that failed one subscription. A message without an id of its own gets a new one
// with each delivery, and so is never taken for another.
function identityOf({ lane, message, origin }: Delivery): string | undefined {
  const { replyTo, correlationId } = message.properties;
  if (lane === "calls") return replyTo && correlationId ? `call ${replyTo} ${correlationId}` : undefined;
  // Going round is no try, and each round is another message: what had no handler here may have one by then.
  const { kind, path, messageId, attempt, unclaimedMs, replay, subscription = "" } = origin;
  const which = `${attempt} ${unclaimedMs} ${digestOf(message.body)}`;
  return `${kind} ${messageId} ${which} ${path} ${subscription} ${replay}`;
}
