/** Delays of messages: when a message is due, and what it is until then. */

import { invalidArgument } from "../errors.ts";
import type { SendOptions } from "../options/verb-options.ts";
import { header } from "../protocol/codec.ts";
import { PUBLISH_KIND } from "../protocol/envelope.ts";
import type { Message } from "../protocol/message.ts";

/** The longest delay, in milliseconds: 100 years. */
const LONGEST_DELAY_MS = 100 * 365 * 86_400_000;

/** When a message is due. */
export interface DueTime {
  /** On the monotonic clock, in milliseconds. */
  readonly at: number;
  readonly date: Date;
}

/**
 * Returns when a message is due; `undefined` if it is due at once.
 *
 * @throws `INVALID_ARGUMENT`.
 */
export function dueTimeOf({ delayMs, at }: Pick<SendOptions, "delayMs" | "at">): DueTime | undefined {
  if (delayMs !== undefined && at !== undefined)
    throw invalidArgument("delayMs", "left out where at says when the message is due", delayMs);
  if (at !== undefined) return dueIn(timeOf(at) - Date.now(), "at", at);
  if (typeof delayMs !== "number" || !(delayMs >= 0)) throw invalidDelay("delayMs", delayMs);
  return dueIn(delayMs, "delayMs", delayMs);
}

function dueIn(ms: number, what: string, given: unknown): DueTime | undefined {
  if (ms > LONGEST_DELAY_MS) throw invalidDelay(what, given);
  if (ms <= 0) return undefined;
  return { at: performance.now() + ms, date: new Date(Date.now() + ms) };
}

function invalidDelay(what: string, given: unknown): Error {
  const expected =
    what === "at"
      ? "a time within the next 100 years"
      : `a number of milliseconds from 0 to ${LONGEST_DELAY_MS}, which are 100 years`;
  return invalidArgument(what, expected, given);
}

// A date, a time and an offset. Without an offset, the time would depend on where the program runs.
const ISO = /^(\d{4})-(\d{2})-(\d{2})T\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:\d{2})$/;

function timeOf(at: unknown): number {
  const time = at instanceof Date ? at.getTime() : typeof at === "string" ? parsed(at) : Number.NaN;
  if (!Number.isNaN(time)) return time;
  const given = at instanceof Date ? "an invalid Date" : at;
  const expected = 'a Date, or ISO 8601 with Z or an offset, such as "2026-12-01T09:00:00+01:00"';
  throw invalidArgument("at", expected, given);
}

function parsed(text: string): number {
  const [, year, month, day] = ISO.exec(text) ?? [];
  if (year === undefined) return Number.NaN;
  // `Date.parse` takes the 30th of February for a day in March.
  const date = new Date(Date.UTC(Number(year), Number(month) - 1, Number(day)));
  return date.getUTCDate() === Number(day) ? Date.parse(text) : Number.NaN;
}

/** Returns a message in the form in which it waits. `path` is that of an event, which an instance publishes when it is due. */
export function delayedMessage({ body, properties }: Message, due: DueTime, path?: string): Message {
  // An expiration would end the wait. It counts from the end of the wait.
  const { expiration, ...kept } = properties;
  const headers = {
    ...properties.headers,
    [header.due]: due.date.toISOString(),
    ...(expiration === undefined ? {} : { [header.expires]: expiration }),
    ...(path === undefined ? {} : { [header.kind]: PUBLISH_KIND, [header.path]: path }),
  };
  return { body, properties: { ...kept, mandatory: true, headers } };
}
