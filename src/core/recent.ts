/** What this instance is doing and has done of late, by message: what the broker delivers again need not run again. */

import { hash } from "node:crypto";
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
/** When so many have ended since anything was asked for, an index is not worth keeping. */
const UNASKED = 2_048;

/** A memory with a bound. */
export class Recent {
  readonly #running = new Bag<Work>();
  /** The newest takes the place of the oldest. */
  readonly #finished: Trace[] = [];
  #next = 0;
  /** Identities of what has finished, while the broker delivers again: mostly nobody asks, and a trace costs less. */
  #index: Set<string> | undefined;
  #unasked = 0;

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
    const trace = traceOf(delivery);
    if (trace !== undefined) this.#remember(trace);
  }

  /** The end of the work on a message that was begun here, if it is remembered. */
  find(delivery: Delivery): Promise<Ended | undefined> | undefined {
    const identity = identityOf(delivery);
    if (identity === undefined) return undefined;
    const running = this.#running.find(
      (work) => mayBeSame(work.delivery, delivery) && identityOf(work.delivery) === identity,
    );
    if (running !== undefined) return running.ended();
    this.#unasked = 0;
    this.#index ??= new Set(this.#finished.map(identityIn));
    if (!this.#index.has(identity)) return undefined;
    return delivery.lane === "calls" ? answered : finished;
  }

  #remember(trace: Trace): void {
    this.#finished[this.#next] = trace;
    this.#next = (this.#next + 1) % REMEMBERED;
    if (this.#index === undefined) return;
    this.#index.add(identityIn(trace));
    this.#unasked += 1;
    // It also has what is forgotten, so it is made anew now and then.
    if (this.#unasked >= UNASKED || this.#index.size >= 2 * REMEMBERED) this.#index = undefined;
  }
}

// The answer of a call may be lost with its acknowledgement. It runs again, alone; nobody died on it.
const answered: Promise<Ended> = Promise.resolve({
  outcome: { kind: "isolate", subscriptions: [], deaths: 0 },
  stands: false,
});
const finished: Promise<Ended> = Promise.resolve({ outcome: { kind: "done" }, stands: true });

/**
 * What tells one message from others: one try of it, of a replay one that is new, and of an event that failed one
 * subscription. Its id alone does not, since a sender may use one for all it sends.
 */
interface Trace
  extends Pick<Origin, "kind" | "path" | "attempt" | "unclaimedMs" | "replay" | "subscription"> {
  readonly id: string;
  /** Of the body. */
  readonly bytes: number;
  readonly digest: string;
}

// A message without an id of its own gets a new one with each delivery, and so is never taken for another.
function traceOf({ lane, message, origin }: Delivery): Trace | undefined {
  if (lane === "calls") {
    const { replyTo, correlationId } = message.properties;
    // Of a foreign sender, they may be anything.
    const isNamed = typeof replyTo === "string" && typeof correlationId === "string" && correlationId !== "";
    return isNamed ? { ...anyCall, id: `${replyTo} ${correlationId}` } : undefined;
  }
  // Going round is no try, and each round is another message: what had no handler here may have one by then.
  const { kind, path, messageId: id, attempt, unclaimedMs, replay, subscription } = origin;
  const { body } = message;
  const digest = digestOf(body);
  return { kind, id, attempt, unclaimedMs, bytes: body.length, digest, path, subscription, replay };
}

// Its caller gave it a name of its own; what else it says may be written in another way when it comes again.
const anyCall = {
  kind: "call",
  attempt: 1,
  unclaimedMs: 0,
  bytes: 0,
  digest: "",
  path: "",
  subscription: undefined,
  replay: "",
} as const;

// What is alike in the first 4 KiB and in length passes for the same.
function digestOf(body: Uint8Array): string {
  return hash("sha1", body.length > 4_096 ? body.subarray(0, 4_096) : body, "base64");
}

// A digest for each that runs would be dear. A call needs none, and may have a new id each time.
function mayBeSame(one: Delivery, other: Delivery): boolean {
  return one.lane === other.lane && (one.lane === "calls" || one.origin.messageId === other.origin.messageId);
}

function identityOf(delivery: Delivery): string | undefined {
  const trace = traceOf(delivery);
  return trace === undefined ? undefined : identityIn(trace);
}

function identityIn(trace: Trace): string {
  const { kind, id, attempt, unclaimedMs, bytes, digest, path, subscription = "", replay } = trace;
  return `${kind} ${id} ${attempt} ${unclaimedMs} ${bytes} ${digest} ${path} ${subscription} ${replay}`;
}
