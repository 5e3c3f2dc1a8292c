/** The traffic that instances tell of: whom they are for, whom they are from, and how long handling them took of late. */

import { isServiceName } from "../address.ts";
import { type Given, listOf, numberOf, recordOf, textOf } from "../encoding/given.ts";

/** So many commands, or events, that it sends an instance tells apart. */
export const MOST_USES = 500;
/** So many senders each handler tells apart. */
export const MOST_SENDERS = 32;

/** A command that an instance calls or sends. */
export interface CommandUse {
  readonly service: string;
  /** Its contract's path, with the names of parameters; absent for what was addressed by a path alone. */
  readonly path?: string;
}

/** An event that an instance publishes. */
export interface EventUse {
  /** Its contract's path, with the names of parameters. */
  readonly path: string;
}

/**
 * How often it was used. One that names nothing stands for all that are not told apart: there were too many, or, of events, they
 * were published by a path alone.
 */
export type Counted<Use> = Partial<Use> & { readonly count: number };

/** Counts of how the runs for one sender's messages ended. */
export interface SenderStats {
  /** The sender that the messages name; absent for all others together. It is a claim: any sender may write any name. */
  readonly service?: string;
  readonly handled: number;
  readonly refused: number;
  readonly failed: number;
}

/**
 * How long runs took: for each range of durations with runs in it, the longest of the range in milliseconds, and how many.
 * Ranges are an eighth of an octave of microseconds, so that a duration is known to 12.5 %.
 */
export type Durations = readonly (readonly [upToMs: number, count: number])[];

/** Counts of the runs that ended in the last seconds. */
export interface RecentRuns {
  /** How long that is, in milliseconds: 5,000 to 10,000, less while the handler is younger; 0 if it is not told. */
  readonly ms: number;
  readonly handled: number;
  readonly refused: number;
  readonly failed: number;
  readonly durations: Durations;
}

export function commandsOf(value: unknown): readonly CommandUse[] {
  return listOf(value)
    .slice(0, MOST_USES)
    .flatMap(({ service, path }) => (isServiceName(service) ? [{ service, ...pathOf(path) }] : []));
}

export function eventsOf(value: unknown): readonly EventUse[] {
  return listOf(value)
    .slice(0, MOST_USES)
    .flatMap(({ path }) => (typeof path === "string" ? [{ path }] : []));
}

export function countedOf(value: unknown): readonly Counted<CommandUse>[] {
  return listOf(value)
    .slice(0, MOST_USES + 1)
    .map(({ service, path, count }) => ({ ...nameOf(service), ...pathOf(path), count: numberOf(count) }));
}

export function sendersOf(value: unknown): readonly SenderStats[] {
  return listOf(value)
    .slice(0, MOST_SENDERS + 1)
    .map((sender) => ({ ...nameOf(sender.service), ...endsOf(sender) }));
}

export function recentOf(value: unknown): RecentRuns {
  const given = recordOf(value);
  return { ms: numberOf(given.ms), ...endsOf(given), durations: durationsOf(given.durations) };
}

export function durationsOf(value: unknown): Durations {
  return Array.isArray(value) ? value.filter(isRange) : [];
}

function endsOf({ handled, refused, failed }: Given): Pick<SenderStats, "handled" | "refused" | "failed"> {
  return { handled: numberOf(handled), refused: numberOf(refused), failed: numberOf(failed) };
}

function nameOf(service: unknown): { readonly service?: string } {
  return isServiceName(service) ? { service } : {};
}

function pathOf(path: unknown): { readonly path?: string } {
  return path === undefined ? {} : { path: textOf(path) };
}

function isRange(value: unknown): value is Durations[number] {
  return Array.isArray(value) && value.length === 2 && value.every((each) => typeof each === "number");
}
