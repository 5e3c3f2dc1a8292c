/** What became of what a route or subscription was given: counted as it ends, at the cost of a few additions. */

import { clip, describeThrown } from "../errors.ts";
import { isServiceName } from "../protocol/address.ts";
import type { HandlerStats, LastError } from "../protocol/discovery/instance-answer.ts";
import { MOST_SENDERS } from "../protocol/discovery/traffic.ts";
import { DueTimes } from "./due-times.ts";
import { Histogram, rangeOf } from "./histogram.ts";
import { type End, LastSeconds } from "./last-seconds.ts";

const MESSAGE_LENGTH = 200;

/** Counts the runs of one handler. */
export class HandlerStatsRecorder {
  readonly #ends: Record<End, number> = noEnds();
  #retried = 0;
  #deadLettered = 0;
  #inFlight = 0;
  #lastError: LastError | undefined;
  #lastRefusal: LastError | undefined;
  readonly #durations = new Histogram();
  readonly #recent = new LastSeconds();
  readonly #waiting = new DueTimes();
  readonly #senders = new Map<string, Record<End, number>>();
  /** Of senders that have no room, or no name that could be one. */
  readonly #others: Record<End, number> = noEnds();

  began(): void {
    this.#inFlight += 1;
  }

  /** A run ended well that began then, on the monotonic clock, of a message that says whom it is from. */
  succeeded(beganAt: number, from: string): void {
    this.#ended("handled", beganAt, from);
  }

  /** A run ended with an answer that its caller is to blame for. */
  refused(beganAt: number, from: string, error: unknown): void {
    this.#ended("refused", beganAt, from);
    this.#lastRefusal = lastly(error);
  }

  failed(beganAt: number, from: string, error: unknown): void {
    this.#ended("failed", beganAt, from);
    this.#lastError = lastly(error);
  }

  /** A shutdown stopped waiting for a run: it counts as none, since another instance handles the message. */
  abandoned(): void {
    this.#inFlight -= 1;
  }

  /** A message is to be tried again, after so many milliseconds. */
  retried(afterMs: number): void {
    this.#retried += 1;
    this.#waiting.add(afterMs);
  }

  deadLettered(): void {
    this.#deadLettered += 1;
  }

  /** All of it, as it is now. */
  read(): HandlerStats {
    return {
      ...this.#ends,
      retried: this.#retried,
      deadLettered: this.#deadLettered,
      inFlight: this.#inFlight,
      waiting: this.#waiting.count,
      durations: this.#durations.read(),
      recent: this.#recent.read(),
      senders: this.#readSenders(),
      ...(this.#lastError === undefined ? {} : { lastError: this.#lastError }),
      ...(this.#lastRefusal === undefined ? {} : { lastRefusal: this.#lastRefusal }),
    };
  }

  #ended(end: End, beganAt: number, from: string): void {
    const now = performance.now();
    const range = rangeOf(now - beganAt);
    this.#inFlight -= 1;
    this.#ends[end] += 1;
    this.#durations.add(range);
    this.#recent.add(end, range, now);
    const sender = this.#senders.get(from) ?? this.#newSender(from);
    sender[end] += 1;
  }

  #newSender(from: string): Record<End, number> {
    if (this.#senders.size >= MOST_SENDERS || !isServiceName(from)) return this.#others;
    const sender = noEnds();
    this.#senders.set(from, sender);
    return sender;
  }

  #readSenders(): HandlerStats["senders"] {
    const told = [...this.#senders].map(([service, ends]) => ({ service, ...ends }));
    const { handled, refused, failed } = this.#others;
    return handled + refused + failed === 0 ? told : [...told, { ...this.#others }];
  }
}

function noEnds(): Record<End, number> {
  return { handled: 0, refused: 0, failed: 0 };
}

function lastly(error: unknown): LastError {
  const { ours, message } = describeThrown(error);
  const [line = ""] = message.split("\n");
  const code = ours?.code ?? "HANDLER_FAILED";
  return { code, message: clip(line, MESSAGE_LENGTH), at: new Date().toISOString() };
}
