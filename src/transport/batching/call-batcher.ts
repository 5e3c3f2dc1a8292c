/** Calls on their way out: those of one turn to one service travel together, once the service has said that they may. */

import { askForBatchLimit, batchableLength, batchCalls } from "../../protocol/batch.ts";
import type { Message } from "../../protocol/message.ts";
import type { Namespace } from "../../protocol/topology.ts";
import type { Batching, Rejection, Settled } from "../transport.ts";
import { TurnBuffer } from "./turn-buffer.ts";

/** The way out for calls. */
export interface CallOutlet {
  publishTo(queue: string, message: Message, settled: Settled): void;
}

interface BatchedCall {
  readonly message: Message;
  readonly settled: Settled;
}

/** A service that is called: what is known of it, and the calls that are collected for it. */
interface CallTarget {
  /** The queue for calls that go by themselves. */
  readonly calls: string;
  /** The queue for messages that hold several calls. */
  readonly batches: string;
  readonly buffer: TurnBuffer<BatchedCall>;
  /** How many calls in one message it takes, as far as is known. */
  takes: number;
  /** When it said so last. */
  learnedAt: number;
  /** Until when nothing that it says is believed, since a batch has found no queue. */
  doubtedUntil: number;
  /** When it was asked last. */
  askedAt: number;
  /** Longest and shortest time left of the calls that were collected. */
  longestMs: number;
  shortestMs: number;
}

/** For how long that is believed: other programs may have joined the service since. Each gathered message asks again. */
const KNOWN_MS = 500;
/**
 * Of a batch: no instance takes batches any more, or it is over a limit, or one of its calls cannot be written. None of these
 * need be so for each of its calls.
 */
const NOT_FOR_EACH: ReadonlySet<Rejection> = new Set(["returned", "too-large", "invalid"]);
/** For how long calls go by themselves after the broker has returned a batch. */
const DOUBT_MS = 1_000;
const MOST_TARGETS = 4_096;
/** How often a service is asked how many calls in one message it takes. */
const ASK_MS = 50;
/** The broker drops what has expired, and a message expires with the last of its calls: those have to expire together. */
const SAME_DEADLINE = 1.1;

/** Sends calls, each by itself or several together. */
export class CallBatcher {
  readonly #batching: Batching;
  readonly #namespace: Namespace;
  readonly #outlet: CallOutlet;
  readonly #targets = new Map<string, CallTarget>();
  /** How many calls wait for the end of their turn. Only this class writes it. */
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
    // Noted last: adding it may have sent those before it.
    target.longestMs = Math.max(target.longestMs, ms);
    target.shortestMs = Math.min(target.shortestMs, ms);
  }

  /** Notes what a reply said: how many calls a message to the service's queue for batches may hold. */
  learn(service: string, takes: number): void {
    const target = this.#targets.get(service);
    const now = performance.now();
    if (target === undefined || now < target.doubtedUntil) return;
    target.takes = takes;
    target.learnedAt = now;
  }

  /** Sends what waits for the end of its turn. */
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
    // Names may be made up without end; what is known of them is soon learned again.
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
