/**
 * Decides what becomes of a delivery, and how long it waits before a retry. The functions are pure: the failure and random
 * numbers are their arguments.
 */

import { ConfluoError, describeThrown, show } from "../errors.ts";
import { SHORTEST_DELAY_MS } from "../protocol/delays.ts";
import type { Envelope } from "../protocol/envelope.ts";
import type { Backoff, RetryPolicy } from "./policy.ts";

/** The reason why a message was not handled, as the dead letter reports it. */
export interface Failure {
  readonly error: unknown;
  /** The pattern of the subscription that failed; absent for a command. */
  readonly subscription?: string;
  /**
   * A policy: the handler failed and may be tried again. `unclaimed`: this instance has no handler for the message, but it or
   * another instance may have one later. `final`: a retry would not help.
   */
  readonly retry: RetryPolicy | "unclaimed" | "final";
}

/** The decision on a message for one of its failures. */
export type Move = { readonly failure: Failure } & (
  | { readonly kind: "dead-letter" }
  /** A retry of the handler after a wait, in milliseconds. */
  | { readonly kind: "retry"; readonly waitMs: number; readonly expiresMs: number | undefined }
  /**
   * Another attempt to find a handler after a wait, by whichever instance receives the message then. It does not count as a
   * try.
   */
  | {
      readonly kind: "retry-unhandled";
      readonly waitMs: number;
      readonly expiresMs: number | undefined;
      readonly unclaimedMs: number;
    }
);

/** The end of a delivery. Each delivery has exactly one. */
export type Outcome =
  /** Handled or answered: the delivery is acknowledged. */
  | { readonly kind: "done" }
  /** Forwarded: one copy for each failure is published and confirmed, then the delivery is acknowledged. */
  | { readonly kind: "forward"; readonly moves: readonly Move[] }
  /**
   * To be tried again, because an instance that had the message was lost: alone or, if too many such messages arrive at once,
   * beside others. One copy is made, or one for each matching subscription, so that a subscription whose handler kills the
   * instance does not affect the others.
   */
  | {
      readonly kind: "isolate";
      readonly subscriptions: readonly string[];
      readonly deaths: number;
      /** When the message expires, on the monotonic clock, if this instance knows that more exactly than the message says. */
      readonly until?: number;
    }
  /** Unfinished: the delivery returns to the queue for another instance. */
  | { readonly kind: "release" };

export const done: Outcome = { kind: "done" };
export const release: Outcome = { kind: "release" };

/** Everything besides the failure that a decision depends on. */
export interface Circumstances {
  readonly envelope: Envelope;
  /** How long this instance has had the message, in milliseconds. */
  readonly heldMs: number;
  /** How long the search for a handler goes on, in milliseconds. */
  readonly unhandledRetryMs: number;
  /** Returns numbers from 0 to 1. */
  readonly random: () => number;
}

/** Decides the outcome of a delivery after all of its handlers have ended. */
export function decide(failures: readonly Failure[], circumstances: Circumstances): Outcome {
  if (failures.length === 0) return done;
  return { kind: "forward", moves: failures.map((failure) => moveFor(failure, circumstances)) };
}

function moveFor(failure: Failure, { envelope, heldMs, unhandledRetryMs, random }: Circumstances): Move {
  const dead: Move = { kind: "dead-letter", failure };
  const { retry, error } = failure;
  let waitMs: number;
  if (retry === "final") return dead;
  if (retry === "unclaimed") {
    if (envelope.unclaimedMs >= unhandledRetryMs) return dead;
    // The first wait is short, because another instance may already have the handler. Later waits become longer.
    waitMs = levelBelow(Math.min(envelope.unclaimedMs, LONGEST_ROUND_MS));
  } else {
    if (envelope.attempt >= retry.attempts) return dead;
    const asked = describeThrown(error).ours?.retry;
    if (asked === "never") return dead;
    waitMs =
      asked === undefined
        ? levelNear(backoffMs(envelope.attempt, retry.backoff, random()), random())
        : wholeQuarters(asked.afterMs);
  }
  let expiresMs: number | undefined;
  if (envelope.expiresMs !== undefined) {
    // The remaining time after this wait. If it were over by then, the message would wait only to become a dead letter.
    expiresMs = Math.floor(envelope.expiresMs - heldMs - waitMs);
    if (expiresMs < 1) return dead;
  }
  if (retry !== "unclaimed") return { kind: "retry", failure, waitMs, expiresMs };
  const unclaimedMs = envelope.unclaimedMs + waitMs;
  return { kind: "retry-unhandled", failure, waitMs, expiresMs, unclaimedMs };
}

const LONGEST_ROUND_MS = 64_000;

// The last death must have happened while the message ran alone, so that nothing else can be the cause. One death is not
// enough, because a cut connection looks the same.
const MOST_DEATHS = 2;

/** Decides about a one-way command or event that was tried alone by an instance that was then lost. */
export function decideAfterDeath({ deaths, path }: Envelope, subscriptions: readonly string[]): Outcome {
  if (deaths + 1 < MOST_DEATHS) return { kind: "isolate", subscriptions, deaths: deaths + 1 };
  const error = new ConfluoError(
    "INSTANCE_LOST",
    `Each instance that handled ${show(path)} was lost, the last one while it handled that message alone.`,
  );
  const dead = (subscription?: string): Move => {
    const failure: Failure = { error, retry: "final" };
    return {
      kind: "dead-letter",
      failure: subscription === undefined ? failure : { ...failure, subscription },
    };
  };
  return { kind: "forward", moves: subscriptions.length === 0 ? [dead()] : subscriptions.map(dead) };
}

/**
 * The waits between tries, in milliseconds, unless an error asks for another. Each is one level at the broker, so that a
 * namespace whose messages only fail needs no more than ten queues.
 */
const RETRY_WAITS_MS = [250, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 256_000, 1_024_000] as const;
const LONGEST = 1_024_000;

/** Returns how long to wait after a number of failed tries, in milliseconds. `chance` is a number from 0 to 1. */
export function backoffMs(failedTries: number, { firstMs, maxMs, factor }: Backoff, chance: number): number {
  return chance * Math.min(maxMs, firstMs * factor ** (failedTries - 1));
}

/**
 * Returns one of the two levels around a wait, chosen at random so that the average equals the wait: of waits of 3 s, half
 * become 2 s and half 4 s. `chance` is a number from 0 to 1. A wait above the longest level is not changed much: it is a sum of
 * several levels.
 */
export function levelNear(waitMs: number, chance: number): number {
  if (waitMs >= LONGEST) return wholeQuarters(waitMs);
  const above = RETRY_WAITS_MS.find((level) => level > waitMs) ?? LONGEST;
  const below = levelBelow(waitMs);
  const share = above === below ? 0 : (waitMs - below) / (above - below);
  return chance < share ? above : below;
}

/** Returns the longest level that does not exceed a wait, or the shortest level. */
export function levelBelow(waitMs: number): number {
  return RETRY_WAITS_MS.findLast((level) => level <= waitMs) ?? SHORTEST_DELAY_MS;
}

// The broker counts in quarters of a second. A message never returns too early.
function wholeQuarters(waitMs: number): number {
  return Math.max(1, Math.ceil(waitMs / SHORTEST_DELAY_MS)) * SHORTEST_DELAY_MS;
}
