/**
 * Remembers the messages that this instance handles or has handled, so that it does not run a message again that is
 * redelivered.
 */

import { hash } from "node:crypto";
import { SlotSet, type SlotSetItem } from "../async/slot-set.ts";
import { userHeaders } from "../protocol/codec.ts";
import { done, type Outcome } from "../retry/outcome.ts";
import type { Delivery } from "../transport/transport.ts";

/** The end of the work on a message. `undefined` in its place means that a shutdown stopped waiting for the work. */
export interface Completion {
  readonly outcome: Outcome;
  /** True if nothing more has to be done for the message, even if its acknowledgement is lost. */
  readonly stands: boolean;
}

/** The end of the work on a message, for a later delivery of the same message. */
export interface SharedCompletion {
  readonly outcome: Outcome;
  /** Must be called when that outcome is final, so that a further delivery needs nothing more. */
  stood(): void;
}

/**
 * The work on one message. When the channel of its delivery is gone, the broker may deliver the message again. A later delivery
 * can then claim this work: one for each delivery that was lost.
 */
export class InFlightMessage implements SlotSetItem {
  slot = -1;
  /**
   * True if the broker may redeliver the message. It cannot on the instance lane, whose queue is deleted with the connection.
   */
  readonly mayComeAgain: boolean;
  /** How long the delivery waited for a place before the work began, in milliseconds. */
  readonly heldMs: number;
  /** When the message expires or its caller stops waiting, on the monotonic clock, as far as this instance knows. */
  readonly until: number;
  /** How many times this instance has begun the message, this time included. */
  readonly runs: number;
  /** When its channel was first found to be gone, on the monotonic clock; 0 before. */
  lostAt = 0;
  /** The subscriptions that handle the event; `undefined` for a command or a call. */
  subscriptions: readonly { readonly pattern: string }[] | undefined;
  /** `undefined` after {@link slim}, since it would keep the body in memory. */
  #delivery: Delivery | undefined;
  /** The id and the identity of the message; set by {@link slim}, in place of the delivery. */
  #id: string | undefined;
  #identity: string | undefined;
  /** The one subscription that the delivery was for, if it named one. */
  readonly #only: string | undefined;
  /** The delivery that represents the message at the broker; `undefined` if it is gone. */
  #holder: Delivery | undefined;
  /** The deliveries of copies that are for one subscription each, by the pattern of the subscription. */
  #parts: Map<string, SubscriptionPart> | undefined;
  /** True once a later run of the message has replaced this one. */
  #isSucceeded = false;
  isOver = false;
  #ended: Completion | undefined;
  #waiting: (() => void)[] | undefined;

  /** @param earlier the work on the same message that this work runs again. */
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

  /** Ends the work, once. `undefined` if a shutdown stopped waiting for it. */
  end(ended: Completion | undefined): void {
    this.isOver = true;
    this.#ended = ended;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting !== undefined) for (const resolve of waiting) resolve();
  }

  /**
   * Resolves, when the work has ended, with its end for a delivery that was {@link claim}ed; `undefined` if a shutdown stopped
   * waiting.
   */
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

  /** Returns whether a redelivered message may be this one: id and identity are the same, and its last delivery is lost. */
  mayBe(delivery: Delivery, identity: () => string): boolean {
    const own = this.#delivery;
    const id = own === undefined ? this.#id : idOf(own);
    if (id === undefined || id !== idOf(delivery) || !this.#isLostFor(delivery.envelope.subscription))
      return false;
    return (own === undefined ? this.#identity : identityOf(own)) === identity();
  }

  #isLostFor(subscription: string | undefined): boolean {
    // An event that was put aside continues as one copy for each subscription; only these copies can come again.
    if (this.#isSucceeded) return false;
    if (subscription === this.#only) return this.hold === "lost" && this.#parts === undefined;
    if (subscription === undefined || this.#only !== undefined) return false;
    const part = this.#parts?.get(subscription);
    if (part !== undefined) return part.holder.hold === "lost";
    return (
      this.hold === "lost" && this.subscriptions?.some(({ pattern }) => pattern === subscription) === true
    );
  }

  /** Lets a delivery represent the message at the broker from now on. */
  claim(delivery: Delivery): void {
    const { subscription } = delivery.envelope;
    if (subscription === undefined || subscription === this.#only) this.#holder = delivery;
    else {
      this.#parts ??= new Map();
      this.#parts.set(subscription, { holder: delivery, stands: false });
    }
  }

  /** The size of the body in bytes; 0 when the body is not kept any more. */
  get size(): number {
    return this.#delivery?.size ?? 0;
  }

  /** The {@link Delivery.hold} of the delivery that represents the message now. */
  get hold(): Delivery["hold"] {
    return this.#holder?.hold ?? "lost";
  }

  /** True if the message cannot come again: the broker has taken its acknowledgement, or those of all its copies. */
  get isForgotten(): boolean {
    if (this.#isSucceeded) return true;
    if (this.#parts === undefined) return this.hold === "released";
    for (const { pattern } of this.subscriptions ?? [])
      if (this.#parts.get(pattern)?.holder.hold !== "released") return false;
    return true;
  }

  /** Releases everything that is not needed to recognize the message. */
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

/** The copy, at the broker, for one subscription of an event that was put aside. */
interface SubscriptionPart {
  readonly holder: Delivery;
  /** True once nothing more has to be done for this copy. */
  stands: boolean;
}

/** The number and the size in bytes of finished messages at which they are swept, at least. */
const FEWEST = 256;
const SWEPT_BYTES = 4 * 1024 * 1024;
/** How long after a message ends, or after the last sweep, the next sweep runs, in milliseconds. */
const SWEEP_AFTER_MS = 2_000;
/** How many messages of lost channels are remembered. */
const REMEMBERED = 16_384;
/** How long a message is remembered after its channel was found to be gone, in milliseconds. */
const REMEMBERED_MS = 600_000;

/**
 * The messages that this instance handles or has handled, within bounds. A redelivered message is recognized by its id and
 * identity. It must also have a delivery that is lost, meaning that its channel is gone and the broker may not have its
 * acknowledgement. Each lost delivery accounts for one redelivery, so that another message with the same content is not
 * mistaken for it.
 */
export class RecentMessages {
  readonly #running = new SlotSet<InFlightMessage>();
  /** Work that has ended while the broker may not have its acknowledgement yet. */
  #finished: InFlightMessage[] = [];
  #bytes = 0;
  #sweepAt = FEWEST;
  #sweepAtBytes = SWEPT_BYTES;
  #timer: NodeJS.Timeout | undefined;
  /** Work that has ended and whose channel is gone, so that its message may be redelivered. */
  #lost: InFlightMessage[] = [];

  /** Remembers work that has begun, unless it is over already. */
  begin(work: InFlightMessage): void {
    if (!work.isOver && work.mayComeAgain) this.#running.add(work);
  }

  /**
   * Ends work, even if it ended before {@link begin}. Remembers it until the broker has certainly taken its acknowledgement.
   */
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

  /**
   * Returns the work on the message that a delivery brings again, if it is remembered. That delivery represents the message
   * from then on.
   */
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

/** Returns the part of an outcome that concerns one subscription, since a copy is not for the others. */
function outcomeFor(outcome: Outcome, subscription: string | undefined): Outcome {
  if (outcome.kind !== "forward" || subscription === undefined) return outcome;
  const moves = outcome.moves.filter(({ failure }) => failure.subscription === subscription);
  return moves.length === 0 ? done : { kind: "forward", moves };
}

// A message without an id gets a new one with each delivery, so it is never mistaken for another.
function idOf({ lane, message, envelope }: Delivery): string | undefined {
  if (lane !== "calls") return envelope.messageId;
  const { replyTo, correlationId } = message.properties;
  const isNamed = typeof replyTo === "string" && typeof correlationId === "string" && correlationId !== "";
  return isNamed ? correlationId : undefined;
}

/**
 * Returns a text by which messages with the same id are told apart, since a sender may use one id for all messages. It differs
 * for each try and each replay of a message. It does not contain the subscription, because a copy may be for one of several.
 */
function identityOf({ lane, message, envelope }: Delivery): string {
  const { kind, path, query, attempt, unclaimedMs, replay } = envelope;
  const { body, properties } = message;
  const isCall = lane === "calls";
  const { replyTo = "" } = isCall ? properties : {};
  const headers = Object.entries(userHeaders(properties.headers)).sort(([a], [b]) => (a < b ? -1 : 1));
  const content = hash("sha1", isCall ? plain(body) : body, "base64");
  // A message that waits for a handler is not a new try. But each of its rounds is another message: a handler may exist by
  // then.
  return JSON.stringify([kind, path, query, attempt, unclaimedMs, replay, replyTo, headers, content]);
}

// A call that came in a batch is encoded again when it is given back: the same JSON, perhaps in other bytes.
function plain(body: Uint8Array): Uint8Array {
  try {
    return Buffer.from(JSON.stringify(JSON.parse(Buffer.from(body).toString())));
  } catch {
    return body;
  }
}
