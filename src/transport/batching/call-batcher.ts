/** Sends calls. Those of one turn to one service travel together, once the service has said that it accepts that. */

import { askForBatchLimit, batchableLength, batchCalls } from "../../protocol/batch.ts";
import type { Message } from "../../protocol/message.ts";
import type { Namespace } from "../../protocol/topology.ts";
import type { Batching, Rejection, Settled } from "../transport.ts";
import { TurnBuffer } from "./turn-buffer.ts";

/** Publishes the messages of a {@link CallBatcher}. */
export interface CallOutlet {
  publishTo(queue: string, message: Message, settled: Settled): void;
}

interface BatchedCall {
  readonly message: Message;
  readonly settled: Settled;
}

/** A service that is called, with the calls that are being collected for it. */
interface CallTarget {
  /** The queue for calls that travel by themselves. */
  readonly calls: string;
  /** The queue for batches. */
  readonly batches: string;
  readonly buffer: TurnBuffer<BatchedCall>;
  /** How many calls the service accepts in one message, as far as is known. */
  takes: number;
  /** When the service last said so, in milliseconds on the monotonic clock. */
  learnedAt: number;
  /** Until when its answers about batches are ignored, because a batch was returned. */
  doubtedUntil: number;
  /** When the service was last asked. */
  askedAt: number;
  /** The longest and the shortest time left of the calls that were collected, in milliseconds. */
  longestMs: number;
  shortestMs: number;
}

/**
 * How long the answer of a service is used, in milliseconds. Other programs may join the service meanwhile. Each batch asks
 * again.
 */
const KNOWN_MS = 500;
/**
 * Rejections of a batch that need not apply to each of its calls: no instance accepts batches any more, the batch exceeds a
 * limit, or one of its calls cannot be encoded.
 */
const NOT_FOR_EACH: ReadonlySet<Rejection> = new Set(["returned", "too-large", "invalid"]);
/** How long calls travel by themselves after a batch was returned, in milliseconds. */
const DOUBT_MS = 1_000;
const MOST_TARGETS = 4_096;
/** How often a service is asked how many calls it accepts in one message, in milliseconds. */
const ASK_MS = 50;
/**
 * The largest ratio between the times left of two calls in one batch. A batch expires with its longest call, so all should
 * expire together.
 */
const SAME_DEADLINE = 1.1;

/** Sends calls, each by itself or several in a batch. */
export class CallBatcher {
  readonly #batching: Batching;
  readonly #namespace: Namespace;
  readonly #outlet: CallOutlet;
  readonly #targets = new Map<string, CallTarget>();
  /** The number of calls that wait for the end of their turn. Only this class writes this field. */
  waiting = 0;

  constructor(batching: Batching, namespace: Namespace, outlet: CallOutlet) {
    this.#batching = batching;
    this.#namespace = namespace;
    this.#outlet = outlet;
  }

  call(service: string, message: Message, settled: Settled): void {
    const { maxCalls, maxBytes, isEager } = this.#batching;
    if (maxCalls === 1) {
      this.#outlet.publishTo(this.#namespace.calls(service), message, settled);
      return;
    }
    const target = this.#targets.get(service) ?? this.#targetOf(service);
    const isKnown = performance.now() - target.learnedAt < KNOWN_MS;
    const most = isEager ? maxCalls : isKnown ? Math.min(maxCalls, target.takes) : 1;
    const length = most === 1 ? undefined : batchableLength(message, maxBytes);
    if (length === undefined) {
      this.#single(target, { message, settled });
      return;
    }
    const ms = Number(message.properties.expiration);
    this.#checkDeadline(target, ms);
    this.waiting += 1;
    target.buffer.add({ message, settled }, length, most);
    // Updated last, because `add` may have sent the calls before this one and reset both.
    target.longestMs = Math.max(target.longestMs, ms);
    target.shortestMs = Math.min(target.shortestMs, ms);
  }

  /** Notes how many calls a service accepts in one message, as a reply said. */
  learn(service: string, takes: number): void {
    const target = this.#targets.get(service);
    const now = performance.now();
    if (target === undefined || now < target.doubtedUntil) return;
    target.takes = takes;
    target.learnedAt = now;
  }

  /** Sends the calls that wait for the end of their turn. */
  flush(): void {
    for (const { buffer } of this.#targets.values()) buffer.flush();
  }

  #targetOf(service: string): CallTarget {
    const { maxBytes, isEager } = this.#batching;
    const buffer = new TurnBuffer<BatchedCall>({
      bytes: maxBytes,
      isEager,
      send: (items) => this.#send(target, items),
    });
    // The number of names has no bound. A service that is forgotten says again what it accepts.
    if (this.#targets.size >= MOST_TARGETS) {
      this.flush();
      this.#targets.clear();
    }
    const target: CallTarget = {
      calls: this.#namespace.calls(service),
      batches: this.#namespace.batches(service),
      buffer,
      takes: 1,
      learnedAt: NEVER,
      doubtedUntil: NEVER,
      askedAt: NEVER,
      ...noDeadline,
    };
    this.#targets.set(service, target);
    return target;
  }

  #checkDeadline(target: CallTarget, ms: number): void {
    const { longestMs, shortestMs } = target;
    if (Math.max(longestMs, ms) <= Math.min(shortestMs, ms) * SAME_DEADLINE) return;
    target.buffer.flush();
    Object.assign(target, noDeadline);
  }

  #send(target: CallTarget, items: readonly [BatchedCall, ...BatchedCall[]]): void {
    Object.assign(target, noDeadline);
    const [first] = items;
    this.waiting -= items.length;
    if (items.length === 1 && !this.#batching.isEager) {
      this.#single(target, first);
      return;
    }
    const messages = items.map(({ message }) => message) as [Message, ...Message[]];
    this.#outlet.publishTo(target.batches, batchCalls(messages), (rejection, why) => {
      if (rejection === "returned") this.#doubt(target);
      if (rejection !== undefined && NOT_FOR_EACH.has(rejection))
        for (const { message, settled } of items) this.#outlet.publishTo(target.calls, message, settled);
      else for (const { settled } of items) settled(rejection, why);
    });
  }

  #doubt(target: CallTarget): void {
    target.learnedAt = NEVER;
    target.doubtedUntil = performance.now() + DOUBT_MS;
  }

  #single(target: CallTarget, { message, settled }: BatchedCall): void {
    const now = performance.now();
    const asks = now - target.askedAt >= ASK_MS;
    if (asks) target.askedAt = now;
    this.#outlet.publishTo(target.calls, asks ? askForBatchLimit(message) : message, settled);
  }
}

const NEVER = Number.NEGATIVE_INFINITY;
const noDeadline = { longestMs: 0, shortestMs: Number.POSITIVE_INFINITY } as const;
