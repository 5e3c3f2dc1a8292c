/** What became of what a route or subscription was given: counted as it ends, at the cost of a few additions. */

import { clip, describeThrown } from "../errors.ts";
import type { Durations, HandlerStats, LastError } from "../protocol/discovery.ts";

// An octave of microseconds has so many ranges.
const STEPS_BITS = 3;
const STEPS = 1 << STEPS_BITS;
const RANGES = (31 - STEPS_BITS + 2) * STEPS;
const MOST_US = 2 ** 31 - 1;
const MESSAGE_LENGTH = 200;

/** Counts the runs of one handler. */
export class Tally {
  #handled = 0;
  #refused = 0;
  #failed = 0;
  #retried = 0;
  #deadLettered = 0;
  #inFlight = 0;
  #lastError: LastError | undefined;
  #lastRefusal: LastError | undefined;
  /** Made with the first run: a service may have a thousand routes that nobody calls. */
  #ranges: Uint32Array | undefined;

  began(): void {
    this.#inFlight += 1;
  }

  /** A run ended well that began then, on the monotonic clock. */
  succeeded(beganAt: number): void {
    this.#handled += 1;
    this.#ended(beganAt);
  }

  /** A run ended with an answer that its caller is to blame for. */
  refused(beganAt: number, error: unknown): void {
    this.#refused += 1;
    this.#ended(beganAt);
    this.#lastRefusal = lastly(error);
  }

  failed(beganAt: number, error: unknown): void {
    this.#failed += 1;
    this.#ended(beganAt);
    this.#lastError = lastly(error);
  }

  /** A shutdown stopped waiting for a run: it counts as none, since another instance handles the message. */
  abandoned(): void {
    this.#inFlight -= 1;
  }

  retried(): void {
    this.#retried += 1;
  }

  deadLettered(): void {
    this.#deadLettered += 1;
  }

  /** All of it, as it is now. */
  read(): HandlerStats {
    return {
      handled: this.#handled,
      refused: this.#refused,
      failed: this.#failed,
      retried: this.#retried,
      deadLettered: this.#deadLettered,
      inFlight: this.#inFlight,
      durations: this.#durations(),
      ...(this.#lastError === undefined ? {} : { lastError: this.#lastError }),
      ...(this.#lastRefusal === undefined ? {} : { lastRefusal: this.#lastRefusal }),
    };
  }

  #ended(beganAt: number): void {
    this.#inFlight -= 1;
    this.#ranges ??= new Uint32Array(RANGES);
    const range = rangeOf(performance.now() - beganAt);
    this.#ranges[range] = (this.#ranges[range] as number) + 1;
  }

  #durations(): Durations {
    const durations: [number, number][] = [];
    this.#ranges?.forEach((count, range) => {
      if (count > 0) durations.push([upToMs(range), count]);
    });
    return durations;
  }
}

function lastly(error: unknown): LastError {
  const { ours, message } = describeThrown(error);
  const [line = ""] = message.split("\n");
  const code = ours?.code ?? "HANDLER_FAILED";
  return { code, message: clip(line, MESSAGE_LENGTH), at: new Date().toISOString() };
}

// The first two octaves have a range for each microsecond, every other as many steps: the leading bit and those behind it.
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

/** The duration that a share of runs stayed within, in milliseconds; `undefined` without runs. */
export function quantile(durations: Durations, share: number): number | undefined {
  const total = durations.reduce((sum, [, count]) => sum + count, 0);
  let seen = 0;
  for (const [upTo, count] of durations) {
    seen += count;
    if (seen >= total * share) return upTo;
  }
  return undefined;
}

/** Durations of several instances as those of one. */
export function mergeDurations(all: readonly Durations[]): Durations {
  const counts = new Map<number, number>();
  for (const [upTo, count] of all.flat()) counts.set(upTo, (counts.get(upTo) ?? 0) + count);
  return [...counts].sort(([a], [b]) => a - b);
}
