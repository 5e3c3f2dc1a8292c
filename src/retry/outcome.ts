/** Decisions on what becomes of a delivery, and how long it waits before it is tried again. Pure: failure and chance in, decision out. */

import { ConfluoError, describeThrown, show } from "../errors.ts";
import type { Envelope } from "../protocol/envelope.ts";
import { DELAY_LEVELS_MS, type DelayLevel } from "../protocol/topology.ts";
import type { Backoff, RetryPolicy } from "./policy.ts";

/** Why a message was not handled, told to whoever opens the dead letter. */
export interface Failure {
  readonly error: unknown;
  /** The pattern of the subscription that failed; absent for a command. */
  readonly subscription?: string;
  /**
   * A policy: the handler failed and may be tried again. `unclaimed`: there is no handler here, perhaps not yet.
   * `final`: trying again would not help.
   */
  readonly retry: RetryPolicy | "unclaimed" | "final";
}

/** One stay in a delay queue, and what is left to wait afterwards. */
export interface Hop {
  readonly levelMs: DelayLevel;
  readonly restMs: number;
}

/** The fate of a message for one failure. */
export type Move = { readonly failure: Failure } & (
  | { readonly kind: "dead-letter" }
  /** The handler is tried again after a wait. */
  | { readonly kind: "retry"; readonly hop: Hop; readonly expiresMs: number | undefined }
  /** Looked at again after a wait, by whichever instance gets it then; that is no try. */
  | {
      readonly kind: "retry-unhandled";
      readonly hop: Hop;
      readonly expiresMs: number | undefined;
      readonly unclaimedMs: number;
    }
);

/** How a delivery ends. Exactly one of these, once. */
export type Outcome =
  /** Handled, or answered: the broker forgets it. */
  | { readonly kind: "done" }
  /** Goes elsewhere, once for each failure: a copy is confirmed there, then the broker forgets this one. */
  | { readonly kind: "forward"; readonly moves: readonly Move[] }
  /**
   * To be tried once more, alone or as one of a crowd, since an instance that had it is gone: as one copy, or as one for each
   * subscription that it is for, so that one which kills does not take the others along.
   */
  | {
      readonly kind: "isolate";
      readonly subscriptions: readonly string[];
      readonly deaths: number;
      /** When it expires, on the monotonic clock, where this instance knows more of that than the message tells. */
      readonly until?: number;
    }
  /** Not done with: back to the queue, for another instance. */
  | { readonly kind: "release" };

export const done: Outcome = { kind: "done" };
export const release: Outcome = { kind: "release" };

/** The circumstances that a decision depends on besides the failure. */
export interface Circumstances {
  readonly envelope: Envelope;
  /** How long the message was held here, in milliseconds. */
  readonly heldMs: number;
  /** How long one without a handler goes round, in milliseconds. */
  readonly unhandledRetryMs: number;
  /** Numbers from 0 to 1. */
  readonly random: () => number;
}

/** Decides after every handler of a delivery has ended. */
export function decide(failures: readonly Failure[], circumstances: Circumstances): Outcome {
  if (failures.length === 0) return done;
  return { kind: "forward", moves: failures.map((failure) => moveFor(failure, circumstances)) };
}

function moveFor(failure: Failure, { envelope, heldMs, unhandledRetryMs, random }: Circumstances): Move {
  const dead: Move = { kind: "dead-letter", failure };
  const { retry, error } = failure;
  let hop: Hop;
  if (retry === "final") return dead;
  if (retry === "unclaimed") {
    if (envelope.unclaimedMs >= unhandledRetryMs) return dead;
    // Soon at first, since another instance may know it already; then ever more patiently.
    hop = firstHop(Math.min(envelope.unclaimedMs, LONGEST_ROUND_MS));
  } else {
    if (envelope.attempt >= retry.attempts) return dead;
    const asked = describeThrown(error).ours?.retry;
    if (asked === "never") return dead;
    hop =
      asked === undefined
        ? hopNear(backoffMs(envelope.attempt, retry.backoff, random()), random())
        : firstHop(asked.afterMs);
  }
  let expiresMs: number | undefined;
  if (envelope.expiresMs !== undefined) {
    // The time that it may still wait after this. A wait that outlasts it would only be for the dead letters.
    expiresMs = Math.floor(envelope.expiresMs - heldMs - hop.levelMs - hop.restMs);
    if (expiresMs < 1) return dead;
  }
  if (retry !== "unclaimed") return { kind: "retry", failure, hop, expiresMs };
  const unclaimedMs = envelope.unclaimedMs + hop.levelMs;
  return { kind: "retry-unhandled", failure, hop, expiresMs, unclaimedMs };
}

const LONGEST_ROUND_MS = 64_000;

// The last one alone, so that it was its own doing; and not the first, since a cut connection looks like a death.
const MOST_DEATHS = 2;

/** Decides about a one-way command or event whose instance is gone, though it was tried alone. */
export function decideAfterDeath({ deaths, path }: Envelope, subscriptions: readonly string[]): Outcome {
  if (deaths + 1 < MOST_DEATHS) return { kind: "isolate", subscriptions, deaths: deaths + 1 };
  const error = new ConfluoError(
    "INSTANCE_LOST",
    `Each instance that was given ${show(path)} was lost, the last one while it tried that alone.`,
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

const [SHORTEST] = DELAY_LEVELS_MS;
const LONGEST = Math.max(...DELAY_LEVELS_MS) as DelayLevel;

/** How long to wait after a number of failed tries, in milliseconds. `chance` is a number from 0 to 1. */
export function backoffMs(failedTries: number, { firstMs, maxMs, factor }: Backoff, chance: number): number {
  return chance * Math.min(maxMs, firstMs * factor ** (failedTries - 1));
}

/**
 * A random level around a wait, so that waits of any length come out right on average: of 3 s, half are 2 s and half are
 * 4 s. `chance` is a number from 0 to 1.
 */
export function hopNear(waitMs: number, chance: number): Hop {
  if (waitMs >= LONGEST) return firstHop(waitMs);
  const above = DELAY_LEVELS_MS.find((level) => level > waitMs) ?? LONGEST;
  const below = DELAY_LEVELS_MS.findLast((level) => level <= waitMs) ?? SHORTEST;
  if (above === below) return { levelMs: above, restMs: 0 };
  const share = (waitMs - below) / (above - below);
  return { levelMs: chance < share ? above : below, restMs: 0 };
}

/** The first of the hops that make up a wait, the longest first, to within the shortest level. */
export function firstHop(waitMs: number): Hop {
  const levelMs = DELAY_LEVELS_MS.findLast((level) => level <= waitMs) ?? SHORTEST;
  const restMs = Math.max(0, Math.round(waitMs - levelMs));
  return { levelMs, restMs: restMs < SHORTEST ? 0 : restMs };
}
