import { runOutsideContext } from "../../async/outside-context.ts";
import type { ConfluoError } from "../../errors.ts";
import type { Message } from "../../protocol/message.ts";
import type { QueueArguments, QueueSpec } from "../amqp-client.ts";
import type { DeathReason, DeathRecord } from "./dead-letter.ts";
import { Deque } from "./deque.ts";
import { assertEquivalent, type QueueSettings, readQueueSettings } from "./queue-arguments.ts";

const never = Number.POSITIVE_INFINITY;
/** The longest delay of a Node.js timer, in milliseconds. */
const longestTimerMs = 2 ** 31 - 1;

/** A message, the exchange and key it was published with, and its earlier deaths. */
export interface QueuedMessage {
  readonly message: Message;
  readonly exchange: string;
  readonly key: string;
  readonly deaths: readonly DeathRecord[];
}

/** A letter: a message in one queue, ready or delivered and unsettled. Only the queue writes its fields. */
export interface StoredLetter extends QueuedMessage {
  /** The order of arrival, which a classic queue restores. */
  readonly position: number;
  readonly expiresAtMs: number;
  redelivered: boolean;
  /** How many times the message returned to the queue unacknowledged. */
  returns: number;
}

/** A consumer as its queue sees it. */
export interface QueueConsumer {
  /** False for `no-ack`: a letter that the consumer takes has left the queue for good. */
  readonly acknowledges: boolean;
  /** Takes one letter. Returns whether there is room for another. */
  take(letter: StoredLetter): boolean;
  /** Is called when the queue is gone, with all letters that came from it. */
  end(reason: ConfluoError): void;
}

/** The broker around a queue, as the queue sees it. */
export interface QueueHost {
  /** True while a client is connected. */
  readonly isUsed: boolean;
  deadLetter(queue: Queue, letter: QueuedMessage, reason: DeathReason): void;
  /** Is called when `x-expires` has passed without use, or the last consumer of an exclusive queue is gone. */
  expireQueue(queue: Queue): void;
}

/**
 * One queue. Letters wait in `#ready`, and consumers with room wait in `#hungry`. One of the two is always empty, because a
 * letter is given to a consumer at once. Only the consumer's callbacks to users are made later.
 */
export class Queue {
  readonly name: string;
  /** The connection that an exclusive queue belongs to; `undefined` for a shared queue. */
  readonly owner: object | undefined;
  readonly settings: QueueSettings;
  /** A list with only this queue, as the result of routing to it. */
  readonly alone: readonly Queue[] = [this];
  readonly #arguments: QueueArguments;
  readonly #host: QueueHost;
  readonly #ready = new Deque<StoredLetter>();
  readonly #hungry = new Deque<QueueConsumer>();
  readonly #consumers = new Set<QueueConsumer>();
  #unacked = 0;
  #arrivals = 0;
  #expiryTimer: NodeJS.Timeout | undefined;
  #expiryTimerAtMs = never;
  #unusedTimer: NodeJS.Timeout | undefined;
  #usedAtMs = 0;
  /** True once the queue is deleted. Letters that consumers still have are dropped then. */
  #isDestroyed = false;

  constructor(spec: QueueSpec, owner: object | undefined, host: QueueHost) {
    this.settings = readQueueSettings(spec);
    this.name = spec.name;
    this.owner = owner;
    this.#arguments = { ...spec.arguments };
    this.#host = host;
    this.touch();
  }

  /** The number of letters that wait to be delivered. */
  get depth(): number {
    return this.#ready.length;
  }

  get unacked(): number {
    return this.#unacked;
  }

  get consumerCount(): number {
    return this.#consumers.size;
  }

  assertEquivalent(spec: QueueSpec): void {
    const existing = { ...this.#arguments, exclusive: this.owner !== undefined };
    const wanted = { ...spec.arguments, exclusive: spec.exclusive === true };
    assertEquivalent({ entity: "queue", name: this.name, properties: existing }, wanted);
  }

  /** Adds a message. Returns false if the queue is full and rejects it. */
  publish({ message, exchange, key, deaths }: QueuedMessage): boolean {
    const { maxLength, overflow } = this.settings;
    if (overflow === "reject-publish" && this.#ready.length >= maxLength) return false;
    const letter: StoredLetter = {
      message,
      exchange,
      key,
      deaths,
      position: this.#arrivals,
      expiresAtMs: this.#expiryOf(message),
      redelivered: false,
      returns: 0,
    };
    this.#arrivals += 1;
    const consumer = this.#hungry.shift();
    if (consumer === undefined) {
      this.#ready.push(letter);
      this.#dropOverflow();
      this.#watchHead();
    } else {
      this.#handOver(letter, consumer);
    }
    return true;
  }

  /** Counts as use of the queue: postpones `x-expires`, and removes expired letters at the head. */
  touch(): void {
    this.#dropExpired();
    this.#watchHead();
    const { unusedExpiryMs } = this.settings;
    if (unusedExpiryMs === never || this.#consumers.size > 0) return;
    this.#usedAtMs = Date.now();
    if (this.#unusedTimer === undefined) this.#watchUse(unusedExpiryMs);
  }

  add(consumer: QueueConsumer): void {
    this.#consumers.add(consumer);
    clearTimeout(this.#unusedTimer);
    this.#unusedTimer = undefined;
    this.resume(consumer);
  }

  /** Stops giving letters to a consumer. */
  remove(consumer: QueueConsumer): void {
    if (!this.#consumers.delete(consumer)) return;
    this.#hungry.remove(consumer);
    if (this.owner !== undefined && this.#consumers.size === 0) this.#host.expireQueue(this);
    else this.touch();
  }

  /** Gives letters to a consumer again that was full and has room now. */
  resume(consumer: QueueConsumer): void {
    this.#hungry.push(consumer);
    this.#pump();
  }

  /** Stops giving letters to a consumer until {@link resume}. */
  pause(consumer: QueueConsumer): void {
    this.#hungry.remove(consumer);
  }

  /** Notes that a delivered letter was acknowledged. */
  settle(): void {
    if (!this.#isDestroyed) this.#unacked -= 1;
  }

  /** Returns delivered letters to the queue. They must be in their order of delivery. */
  giveBack(letters: readonly StoredLetter[]): void {
    if (this.#isDestroyed) return;
    this.#unacked -= letters.length;
    // A classic queue takes the last letter first, so that each is inserted at the front and no others are moved.
    const inOrder = this.settings.type === "quorum" ? letters : [...letters].reverse();
    for (const letter of inOrder) this.#putBack(letter);
    this.#dropOverflow();
    this.#pump();
    this.#watchHead();
  }

  /** Removes the letter at the head for good. */
  take(): StoredLetter | undefined {
    this.touch();
    const letter = this.#ready.shift();
    this.#watchHead();
    return letter;
  }

  /** Ends the consumers and drops all letters. Like RabbitMQ, it dead-letters none. */
  destroy(reason: ConfluoError): void {
    this.#isDestroyed = true;
    clearTimeout(this.#expiryTimer);
    clearTimeout(this.#unusedTimer);
    this.#ready.clear();
    this.#hungry.clear();
    this.#unacked = 0;
    for (const consumer of this.#consumers) consumer.end(reason);
    this.#consumers.clear();
  }

  /** Notes that the first client has connected to the broker, or the last one has left. */
  useChanged(): void {
    if (this.#holds) this.#expiryTimer?.ref();
    else this.#expiryTimer?.unref();
  }

  #handOver(letter: StoredLetter, consumer: QueueConsumer): void {
    if (consumer.acknowledges) this.#unacked += 1;
    if (consumer.take(letter)) this.#hungry.push(consumer);
  }

  #pump(): void {
    if (this.#ready.length === 0) return;
    for (;;) {
      const consumer = this.#hungry.first();
      if (consumer === undefined) break;
      const letter = this.#ready.shift();
      if (letter === undefined) return;
      if (hasExpired(letter)) {
        this.#host.deadLetter(this, letter, "expired");
      } else {
        this.#hungry.shift();
        this.#handOver(letter, consumer);
      }
    }
    this.#watchHead();
  }

  /**
   * Classic queues restore the order of arrival. Quorum queues deliver returned letters first, in the order in which they
   * returned.
   */
  #putBack(letter: StoredLetter): void {
    const isQuorum = this.settings.type === "quorum";
    letter.redelivered = true;
    letter.returns += 1;
    if (letter.returns > this.settings.deliveryLimit) {
      this.#host.deadLetter(this, letter, "delivery_limit");
      return;
    }
    const index = this.#ready.search((other) =>
      isQuorum ? !other.redelivered : other.position > letter.position,
    );
    this.#ready.insert(index, letter);
  }

  #dropOverflow(): void {
    const { maxLength, overflow } = this.settings;
    if (overflow === "reject-publish") return;
    while (this.#ready.length > maxLength) {
      const oldest = this.#ready.shift();
      if (oldest !== undefined) this.#host.deadLetter(this, oldest, "maxlen");
    }
  }

  #dropExpired(): void {
    for (let head = this.#ready.first(); head !== undefined && hasExpired(head); head = this.#ready.first()) {
      this.#ready.shift();
      this.#host.deadLetter(this, head, "expired");
    }
  }

  #expiryOf(message: Message): number {
    const { expiration } = message.properties;
    const { messageTtlMs } = this.settings;
    const ttlMs = expiration === undefined ? messageTtlMs : Math.min(Number(expiration), messageTtlMs);
    return ttlMs === never ? never : Date.now() + ttlMs;
  }

  /**
   * Sets the timer for the expiry of the head, unless it is set for that time or an earlier one, at which the head is checked
   * again.
   */
  #watchHead(): void {
    const expiresAtMs = this.#ready.first()?.expiresAtMs ?? never;
    if (expiresAtMs >= this.#expiryTimerAtMs) return;
    clearTimeout(this.#expiryTimer);
    this.#expiryTimerAtMs = expiresAtMs;
    this.#expiryTimer = startTimer(expiresAtMs - Date.now(), this.#holds, () => {
      this.#expiryTimerAtMs = never;
      this.#dropExpired();
      this.#watchHead();
    });
  }

  // A message that is dead-lettered after its wait is work to come, so the timer keeps the process running. Once nobody is
  // connected, there is nobody to do that work.
  get #holds(): boolean {
    const { messageTtlMs, deadLetterExchange } = this.settings;
    return messageTtlMs !== never && deadLetterExchange !== undefined && this.#host.isUsed;
  }

  #watchUse(afterMs: number): void {
    this.#unusedTimer = startTimer(afterMs, false, () => {
      this.#unusedTimer = undefined;
      const leftMs = this.#usedAtMs + this.settings.unusedExpiryMs - Date.now();
      if (leftMs > 0) this.#watchUse(leftMs);
      else this.#host.expireQueue(this);
    });
  }
}

/** Returns whether RabbitMQ accepts this `expiration`. */
export function isExpiration(expiration: unknown): boolean {
  return typeof expiration === "string" && /^\d{1,10}$/.test(expiration) && Number(expiration) < 2 ** 32;
}

function hasExpired(letter: StoredLetter): boolean {
  return letter.expiresAtMs !== never && letter.expiresAtMs <= Date.now();
}

/** Starts a timer. It keeps the process running only if `holds` is true. */
function startTimer(afterMs: number, holds: boolean, onTime: () => void): NodeJS.Timeout {
  // Outside of the context, because a timer would otherwise retain the sender's context for as long as the letter waits.
  const timer = runOutsideContext(setTimer, onTime, Math.min(Math.max(afterMs, 1), longestTimerMs));
  return holds ? timer : timer.unref();
}

// `setTimeout` is looked up at the call, because tests replace it.
function setTimer(onTime: () => void, afterMs: number): NodeJS.Timeout {
  return setTimeout(onTime, afterMs);
}
