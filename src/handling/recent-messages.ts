/** The work of this instance, now and of late, by message: a message that the broker delivers again need not run again. */

import { hash } from "node:crypto";
import { SlotSet, type SlotSetItem } from "../async/slot-set.ts";
import { userHeaders } from "../protocol/codec.ts";
import { done, type Outcome } from "../retry/outcome.ts";
import type { Delivery } from "../transport/transport.ts";

/** How the work on a message ended; `undefined` if a shutdown stopped waiting for it. */
export interface Completion {
  readonly outcome: Outcome;
  /** True if the message needs nothing more, though its acknowledgement may be lost. */
  readonly stands: boolean;
}

/** How the work ended for what was taken for its message. */
export interface SharedCompletion {
  readonly outcome: Outcome;
  /** Must be called when that outcome stands: what comes again later needs nothing more. */
  stood(): void;
}

/**
 * Work on one delivery. Other deliveries may be taken for the same message later: each of them once, in place of one whose
 * channel is gone.
 */
export class InFlightMessage implements SlotSetItem {
  slot = -1;
  /** True if the broker may deliver it again. A queue of an instance's own is gone with its connection. */
  readonly mayComeAgain: boolean;
  /** How long it waited here before it began, in milliseconds. */
  readonly heldMs: number;
  /** When its caller or its sender waits no longer, on the monotonic clock, as far as this instance knows. */
  readonly until: number;
  /** How often this instance has begun the message, this time included. */
  readonly runs: number;
  /** When its channel was first seen to be gone, on the monotonic clock. */
  lostAt = 0;
  /** Subscriptions that it is work for; `undefined` for a command or a call. */
  subscriptions: readonly { readonly pattern: string }[] | undefined;
  /** `undefined` once no more is kept than is needed to know the message again: it would hold on to its body. */
  #delivery: Delivery | undefined;
  /** Are set when the delivery itself is not kept any more. */
  #id: string | undefined;
  #identity: string | undefined;
  /** The one subscription that the delivery was for. */
  readonly #only: string | undefined;
  /** The delivery that stands for the message at the broker; `undefined` if that is gone. */
  #holder: Delivery | undefined;
  /** The same, for copies that are for one subscription each. */
  #parts: Map<string, SubscriptionPart> | undefined;
  /** True once later work on the message knows all that this knew. */
  #isSucceeded = false;
  isOver = false;
  #ended: Completion | undefined;
  #waiting: (() => void)[] | undefined;

  /** @param earlier work on the same message, which this is to run again. */
  constructor(delivery: Delivery, heldMs: number, earlier?: InFlightMessage) {
    const { receivedAt, envelope } = delivery;
    this.#delivery = delivery;
    this.#holder = delivery;
    this.#only = envelope.subscription;
    this.mayComeAgain = delivery.lane !== "instance";
    this.heldMs = heldMs;
    const until = receivedAt + (envelope.expiresMs ?? Number.POSITIVE_INFINITY);
    this.until = earlier === undefined ? until : Math.min(until, earlier.until);
    this.runs = earlier === undefined ? 1 : earlier.runs + 1;
    if (earlier !== undefined) earlier.#isSucceeded = true;
  }

  /** Is told once how it ended. */
  end(ended: Completion | undefined): void {
    this.isOver = true;
    this.#ended = ended;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting !== undefined) for (const resolve of waiting) resolve();
  }

  /** How it ended for a delivery that was {@link claim}ed; `undefined` if a shutdown stopped waiting for it. */
  async share({ envelope: { subscription } }: Delivery): Promise<SharedCompletion | undefined> {
    if (!this.isOver) {
      await new Promise<void>((resolve) => {
        this.#waiting ??= [];
        this.#waiting.push(resolve);
      });
    }
    if (this.#ended === undefined) return undefined;
    const { outcome, stands } = this.#ended;
    const isPart = subscription !== undefined && subscription !== this.#only;
    const part = isPart ? this.#parts?.get(subscription) : undefined;
    return {
      outcome: stands || part?.stands ? done : isPart ? outcomeFor(outcome, subscription) : outcome,
      stood: () => {
        if (part !== undefined) part.stands = true;
        else this.#ended = { outcome: done, stands: true };
      },
    };
  }

  /** Returns whether a delivery that comes again may be of this message: nothing at the broker stands for it any more. */
  mayBe(delivery: Delivery, identity: () => string): boolean {
    const own = this.#delivery;
    const id = own === undefined ? this.#id : idOf(own);
    if (id === undefined || id !== idOf(delivery) || !this.#isLostFor(delivery.envelope.subscription))
      return false;
    return (own === undefined ? this.#identity : identityOf(own)) === identity();
  }

  #isLostFor(subscription: string | undefined): boolean {
    // Of an event that was put aside, only its parts are left.
    if (this.#isSucceeded) return false;
    if (subscription === this.#only) return this.hold === "lost" && this.#parts === undefined;
    if (subscription === undefined || this.#only !== undefined) return false;
    const part = this.#parts?.get(subscription);
    if (part !== undefined) return part.holder.hold === "lost";
    return (
      this.hold === "lost" && this.subscriptions?.some(({ pattern }) => pattern === subscription) === true
    );
  }

  /** From now on this delivery stands for the message. */
  claim(delivery: Delivery): void {
    const { subscription } = delivery.envelope;
    if (subscription === undefined || subscription === this.#only) this.#holder = delivery;
    else {
      this.#parts ??= new Map();
      this.#parts.set(subscription, { holder: delivery, stands: false });
    }
  }

  /** Of its body, in bytes, as long as that is kept. */
  get size(): number {
    return this.#delivery?.size ?? 0;
  }

  /** Of what stands for it at the broker now. */
  get hold(): Delivery["hold"] {
    return this.#holder?.hold ?? "lost";
  }

  /** Tells whether the broker has taken the acknowledgement, or those of all copies. */
  get isForgotten(): boolean {
    if (this.#isSucceeded) return true;
    if (this.#parts === undefined) return this.hold === "released";
    for (const { pattern } of this.subscriptions ?? [])
      if (this.#parts.get(pattern)?.holder.hold !== "released") return false;
    return true;
  }

  /** Keeps no more than is needed to know the message again. */
  slim(now: number): void {
    if (this.lostAt === 0) this.lostAt = now;
    const delivery = this.#delivery;
    if (delivery === undefined) return;
    this.#id = idOf(delivery);
    this.#identity = identityOf(delivery);
    this.#delivery = undefined;
    if (this.hold === "lost") this.#holder = undefined;
  }
}

/** The copy at the broker for one subscription of an event that was put aside. */
interface SubscriptionPart {
  readonly holder: Delivery;
  /** True once its own outcome stands. */
  stands: boolean;
}

/** As many are swept at once, at least. */
const FEWEST = 256;
const SWEPT_BYTES = 4 * 1024 * 1024;
const SWEEP_AFTER_MS = 2_000;
/** How many messages of channels that are gone are remembered, and for how long after they have ended. */
const REMEMBERED = 16_384;
const REMEMBERED_MS = 600_000;

/**
 * A memory with a bound. It tells a message that comes again from one that only looks like it: what comes again was not
 * settled, as far as this instance knows, and what it came over is gone. It comes once.
 */
export class RecentMessages {
  readonly #running = new SlotSet<InFlightMessage>();
  /** Has ended, and the broker may not have its acknowledgement. */
  #finished: InFlightMessage[] = [];
  #bytes = 0;
  #sweepAt = FEWEST;
  #sweepAtBytes = SWEPT_BYTES;
  #timer: NodeJS.Timeout | undefined;
  /** Has ended, and may come again. */
  #lost: InFlightMessage[] = [];

  /** Work goes on, unless it is over already. */
  begin(work: InFlightMessage): void {
    if (!work.isOver && work.mayComeAgain) this.#running.add(work);
  }

  /** Work has ended, be it that it never went on. Remembers it until the broker has surely taken its acknowledgement. */
  end(work: InFlightMessage, ended: Completion | undefined): void {
    work.end(ended);
    if (!work.mayComeAgain) return;
    const { hold } = work;
    this.#running.delete(work);
    if (ended === undefined || hold === "released") return;
    this.#finished.push(work);
    this.#bytes += work.size;
    if (this.#finished.length >= this.#sweepAt || this.#bytes >= this.#sweepAtBytes) this.#sweep();
    else this.#timer ??= setTimeout(this.#sweep, SWEEP_AFTER_MS).unref();
  }

  /** Work on the message that a delivery brings again, if it is remembered. From then on, the delivery stands for it. */
  claim(delivery: Delivery): InFlightMessage | undefined {
    let identity: string | undefined;
    const wanted = (): string => {
      identity ??= identityOf(delivery);
      return identity;
    };
    const mayBe = (work: InFlightMessage): boolean => work.mayBe(delivery, wanted);
    let work = this.#running.find(mayBe);
    if (work === undefined) {
      this.#sweep();
      work = this.#lost.find(mayBe);
    }
    work?.claim(delivery);
    return work;
  }

  readonly #sweep = (): void => {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const now = performance.now();
    const held: InFlightMessage[] = [];
    this.#bytes = 0;
    for (const work of this.#finished) {
      const { hold } = work;
      if (hold === "held") {
        held.push(work);
        this.#bytes += work.size;
      } else if (hold === "lost") {
        work.slim(now);
        this.#lost.push(work);
      }
    }
    this.#finished = held;
    this.#sweepAt = Math.max(FEWEST, 2 * held.length);
    this.#sweepAtBytes = Math.max(SWEPT_BYTES, 2 * this.#bytes);
    if (held.length > 0) this.#timer = setTimeout(this.#sweep, SWEEP_AFTER_MS).unref();
    if (this.#lost.length === 0) return;
    this.#lost = this.#lost
      .filter((work) => !work.isForgotten && now - work.lostAt < REMEMBERED_MS)
      .slice(-REMEMBERED);
  };
}

/** Returns what becomes of a message for one of its subscriptions: the outcomes of the others are no concern of its copy. */
function outcomeFor(outcome: Outcome, subscription: string | undefined): Outcome {
  if (outcome.kind !== "forward" || subscription === undefined) return outcome;
  const moves = outcome.moves.filter(({ failure }) => failure.subscription === subscription);
  return moves.length === 0 ? done : { kind: "forward", moves };
}

// A message without an id of its own gets a new one with each delivery, and so is never taken for another.
function idOf({ lane, message, envelope }: Delivery): string | undefined {
  if (lane !== "calls") return envelope.messageId;
  const { replyTo, correlationId } = message.properties;
  const isNamed = typeof replyTo === "string" && typeof correlationId === "string" && correlationId !== "";
  return isNamed ? correlationId : undefined;
}

/**
 * Returns what tells one message from others that have its id, since a sender may use one id for all it sends: one try of it, and
 * of a replay one that is new. Not its subscription: a copy may be for one of several.
 */
function identityOf({ lane, message, envelope }: Delivery): string {
  const { kind, path, query, attempt, unclaimedMs, replay } = envelope;
  const { body, properties } = message;
  const isCall = lane === "calls";
  const { replyTo = "" } = isCall ? properties : {};
  const headers = Object.entries(userHeaders(properties.headers)).sort(([a], [b]) => (a < b ? -1 : 1));
  const content = hash("sha1", isCall ? plain(body) : body, "base64");
  // Going round is no try, and each round is another message: what had no handler here may have one by then.
  return JSON.stringify([kind, path, query, attempt, unclaimedMs, replay, replyTo, headers, content]);
}

// A call that came together with others is written anew when it comes again: the same JSON in other bytes.
function plain(body: Uint8Array): Uint8Array {
  try {
    return Buffer.from(JSON.stringify(JSON.parse(Buffer.from(body).toString())));
  } catch {
    return body;
  }
}
