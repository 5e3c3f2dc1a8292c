/** The traffic that an instance reports: whom it sends to, whom it receives from, and how long its recent runs took. */

import { isServiceName } from "../address.ts";
import { type Given, listOf, numberOf, recordOf, textOf } from "../encoding/given.ts";

/** The most commands, and the most events, that an instance counts separately. */
export const MOST_USES = 500;
/** The most senders that each handler counts separately. */
export const MOST_SENDERS = 32;

/** A command that an instance calls or sends. */
export interface CommandUse {
  readonly service: string;
  /** The path of its contract, with the names of parameters; absent if the command was addressed by a path alone. */
  readonly path?: string;
}

/** An event that an instance publishes. */
export interface EventUse {
  /** The path of its contract, with the names of parameters. */
  readonly path: string;
}

/**
 * A use with its count. An entry without a name counts all others together: those above the limit, and events that were
 * published by a path alone.
 */
export type Counted<Use> = Partial<Use> & { readonly count: number };

/** Delayed messages that are not due yet, for one service. */
export interface DelayCount {
  /** The service to whose inbox they return; absent for all others together. */
  readonly service?: string;
  readonly count: number;
  /** When the last of them is due, in ISO 8601, on the instance's own clock. */
  readonly until: string;
}

/** How the runs for the messages of one sender ended. */
export interface SenderStats {
  /** The sender that the messages name; absent for all others together. It is not verified: any sender may write any name. */
  readonly service?: string;
  readonly handled: number;
  readonly refused: number;
  readonly failed: number;
}

/**
 * The durations of runs: for each range with runs in it, the longest duration in milliseconds and the number of runs. A range
 * is an eighth of an octave of microseconds, so that a duration is known to 12.5 %.
 */
export type Durations = readonly (readonly [upToMs: number, count: number])[];

/** Counts of the runs that ended in the last seconds. */
export interface RecentRuns {
  /** The period in milliseconds: 5,000 to 10,000, less while the handler is younger; 0 if it is not reported. */
  readonly ms: number;
  readonly handled: number;
  readonly refused: number;
  readonly failed: number;
  readonly durations: Durations;
}

/** Reads a list of commands; entries that are not valid are left out. */
export function commandsOf(value: unknown): readonly CommandUse[] {
  return listOf(value)
    .slice(0, MOST_USES)
    .flatMap(({ service, path }) => (isServiceName(service) ? [{ service, ...pathOf(path) }] : []));
}

/** Reads a list of events; entries that are not valid are left out. */
export function eventsOf(value: unknown): readonly EventUse[] {
  return listOf(value)
    .slice(0, MOST_USES)
    .flatMap(({ path }) => (typeof path === "string" ? [{ path }] : []));
}

/** Reads a list of counted uses. */
export function countedOf(value: unknown): readonly Counted<CommandUse>[] {
  return listOf(value)
    .slice(0, MOST_USES + 1)
    .map(({ service, path, count }) => ({ ...nameOf(service), ...pathOf(path), count: numberOf(count) }));
}

/** Reads a list of delayed messages; entries whose time is not valid are left out. */
export function delaysOf(value: unknown): readonly DelayCount[] {
  return listOf(value)
    .slice(0, MOST_USES + 1)
    .flatMap(({ service, count, until }) => {
      const time = Date.parse(textOf(until));
      if (Number.isNaN(time)) return [];
      return [{ ...nameOf(service), count: numberOf(count), until: new Date(time).toISOString() }];
    });
}

/** Reads a list of senders. */
export function sendersOf(value: unknown): readonly SenderStats[] {
  return listOf(value)
    .slice(0, MOST_SENDERS + 1)
    .map((sender) => ({ ...nameOf(sender.service), ...endsOf(sender) }));
}

/** Reads the counts of recent runs. */
export function recentOf(value: unknown): RecentRuns {
  const given = recordOf(value);
  return { ms: numberOf(given.ms), ...endsOf(given), durations: durationsOf(given.durations) };
}

/** Reads durations; ranges that are not valid are left out. */
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
