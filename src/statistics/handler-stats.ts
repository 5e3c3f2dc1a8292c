/**
 * Counts the outcomes of a route's or subscription's messages, in total and recently. Each count costs only a few additions.
 */

import { clip, describeThrown } from "../errors.ts";
import { isServiceName } from "../protocol/address.ts";
import type { HandlerStats, LastError } from "../protocol/discovery/instance-answer.ts";
import { type Durations, MOST_SENDERS, type RecentRuns } from "../protocol/discovery/traffic.ts";
import { mergeDurations } from "./durations.ts";

const MESSAGE_LENGTH = 200;

/** The outcome of a run. */
type End = "handled" | "refused" | "failed";

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
  /** Counts for senders beyond the limit, and for sender names that are not valid. */
  readonly #others: Record<End, number> = noEnds();

  began(): void {
    this.#inFlight += 1;
  }

  /** Records a successful run that began at `beganAt`, on the monotonic clock, for a message from the service `from`. */
  succeeded(beganAt: number, from: string): void {
    this.#ended("handled", beganAt, from);
  }

  /** Records a run that ended with an error for which the caller is responsible. */
  refused(beganAt: number, from: string, error: unknown): void {
    this.#ended("refused", beganAt, from);
    this.#lastRefusal = lastly(error);
  }

  failed(beganAt: number, from: string, error: unknown): void {
    this.#ended("failed", beganAt, from);
    this.#lastError = lastly(error);
  }

  /** Records that a shutdown stopped waiting for a run. It is not counted, because another instance handles the message. */
  abandoned(): void {
    this.#inFlight -= 1;
  }

  /** Records that a message is retried after a number of milliseconds. */
  retried(afterMs: number): void {
    this.#retried += 1;
    this.#waiting.add(afterMs);
  }

  deadLettered(): void {
    this.#deadLettered += 1;
  }

  /** Returns the present statistics. */
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

/** Length of a slot. The recent counts cover the elapsed part of the present slot and the whole slot before it. */
const SLOT_MS = 5_000;
/** Shortest time that rates are based on, so that one run in the first millisecond does not count as a thousand per second. */
const LEAST_MS = 1_000;

class Slot {
  readonly ends: Record<End, number> = noEnds();
  readonly durations = new Histogram();

  clear(): void {
    this.ends.handled = 0;
    this.ends.refused = 0;
    this.ends.failed = 0;
    this.durations.clear();
  }
}

/** Counts the runs that ended in the last 5 to 10 seconds, with a few additions and two slots. */
class LastSeconds {
  readonly #madeAt: number = performance.now();
  #number = 0;
  #present = new Slot();
  #before = new Slot();

  /** Records a run that ended now, on the monotonic clock; `range` is the range of its duration. */
  add(end: End, range: number, now: number): void {
    const number = Math.floor(now / SLOT_MS);
    if (number !== this.#number) this.#turn(number);
    this.#present.ends[end] += 1;
    this.#present.durations.add(range);
  }

  read(): RecentRuns {
    const now = performance.now();
    const number = Math.floor(now / SLOT_MS);
    if (number !== this.#number) this.#turn(number);
    const [one, other] = [this.#present, this.#before];
    const ms = Math.min(now - this.#madeAt, SLOT_MS + (now - number * SLOT_MS));
    return {
      ms: Math.max(LEAST_MS, Math.round(ms)),
      handled: one.ends.handled + other.ends.handled,
      refused: one.ends.refused + other.ends.refused,
      failed: one.ends.failed + other.ends.failed,
      durations: mergeDurations([other.durations.read(), one.durations.read()]),
    };
  }

  #turn(number: number): void {
    const isNext = number === this.#number + 1;
    [this.#before, this.#present] = [this.#present, this.#before];
    this.#present.clear();
    if (!isNext) this.#before.clear();
    this.#number = number;
  }
}

const FINEST_MS = 250;
/** The width of a slot is about this fraction of the wait, so that there are a few hundred slots for waits of any length. */
const PART = 16;
/** Number of slots at which those that are over are removed; more than can exist of waits that are not over. */
const LOOK_AT = 1_024;

/** Counts waits that are not over, by the time of their end, in a limited number of slots. */
export class DueTimes {
  /** Number of waits that end by a time of the monotonic clock. */
  readonly #ends = new Map<number, number>();

  /** Records the start of a wait, in milliseconds. */
  add(ms: number): void {
    const now = performance.now();
    if (this.#ends.size >= LOOK_AT) this.#forget(now);
    const width = Math.max(FINEST_MS, 2 ** Math.floor(Math.log2(Math.max(1, ms / PART))));
    const end = Math.ceil((now + ms) / width) * width;
    this.#ends.set(end, (this.#ends.get(end) ?? 0) + 1);
  }

  /** Number of waits that are not over. */
  get count(): number {
    if (this.#ends.size === 0) return 0;
    this.#forget(performance.now());
    let count = 0;
    for (const each of this.#ends.values()) count += each;
    return count;
  }

  #forget(now: number): void {
    for (const end of this.#ends.keys()) if (end <= now) this.#ends.delete(end);
  }
}

// Each octave of microseconds has this many ranges.
const STEPS_BITS = 3;
const STEPS = 1 << STEPS_BITS;
const RANGES = (31 - STEPS_BITS + 2) * STEPS;
const MOST_US = 2 ** 31 - 1;

/** Counts durations by range. */
class Histogram {
  /** Allocated with the first duration, because a service may have a thousand routes that are never called. */
  #ranges: Uint32Array | undefined;

  /** @param range from {@link rangeOf}. */
  add(range: number): void {
    this.#ranges ??= new Uint32Array(RANGES);
    this.#ranges[range] = (this.#ranges[range] as number) + 1;
  }

  clear(): void {
    this.#ranges?.fill(0);
  }

  read(): Durations {
    const durations: [number, number][] = [];
    this.#ranges?.forEach((count, range) => {
      if (count > 0) durations.push([upToMs(range), count]);
    });
    return durations;
  }
}

/**
 * Returns the range of a duration in milliseconds. The first two octaves have one range for each microsecond; every further
 * octave has the same number of ranges, given by the leading bit and the bits behind it.
 */
function rangeOf(ms: number): number {
  const us = Math.min(Math.max(0, Math.round(ms * 1_000)), MOST_US);
  if (us < 2 * STEPS) return us;
  const shift = 31 - Math.clz32(us) - STEPS_BITS;
  return (shift << STEPS_BITS) + (us >> shift);
}

function upToMs(range: number): number {
  if (range < 2 * STEPS) return range / 1_000;
  const shift = (range >> STEPS_BITS) - 1;
  const step = (range & (STEPS - 1)) + STEPS;
  return ((step + 1) * 2 ** shift - 1) / 1_000;
}
