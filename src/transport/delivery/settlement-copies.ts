/**
 * The copies that settle a delivery: messages that wait for their next try, that are put aside or given back, and dead letters.
 */

import { storyOf } from "../../causes.ts";
import { header, protocolHeader } from "../../protocol/codec.ts";
import type { Envelope } from "../../protocol/envelope.ts";
import type { Message } from "../../protocol/message.ts";
import { republished } from "../../protocol/republish.ts";
import type { Failure, Hop } from "../../retry/outcome.ts";

/** The headers that describe the failure of a message. */
const storyHeaders: readonly string[] = [
  header.error,
  header.errorName,
  header.errorMessage,
  header.errorStack,
  header.firstFailedAt,
  header.failedAt,
  header.queue,
  header.instance,
];

/** The state of a message that waits. */
interface DelayedRetry {
  readonly hop: Hop;
  readonly unclaimedMs: number;
  readonly expiresMs: number | undefined;
  /** How many instances were lost with the message; only if the wait does not begin a new try. */
  readonly deaths?: number;
}

/** Returns the headers of a copy that waits. A header with its default value is left out. */
export function waitHeaders(wait: DelayedRetry): Readonly<Record<string, string>> {
  const { hop, unclaimedMs, expiresMs, deaths = 0 } = wait;
  return {
    ...(hop.restMs === 0 ? {} : { [header.wait]: String(hop.restMs) }),
    ...(unclaimedMs === 0 ? {} : { [header.unclaimed]: String(unclaimedMs) }),
    ...(expiresMs === undefined ? {} : { [header.expires]: String(expiresMs) }),
    ...(deaths === 0 ? {} : { [header.deaths]: String(deaths) }),
  };
}

/** A message and its metadata. */
interface Original {
  readonly message: Message;
  readonly envelope: Envelope;
}

/** Copies a message without a new failure, but with the description of earlier ones. `most` limits its properties, in bytes. */
export function unchangedCopy(
  { message, envelope }: Original,
  added: Readonly<Record<string, string>>,
  most: number | undefined,
): Message {
  const { subscription } = envelope;
  const story = storyHeaders.map((name) => [name, protocolHeader(message.properties.headers, name)] as const);
  const all = {
    ...(subscription === undefined ? {} : { [header.subscription]: subscription }),
    ...Object.fromEntries(story.filter(([, value]) => value !== undefined)),
    ...added,
  };
  return republished(message, envelope, all, most);
}

/** The failure that a copy describes. */
interface FailedCopy {
  readonly failure: Failure;
  /** The queue that the message came from. */
  readonly queue: string;
  /** The instance that it failed in. */
  readonly instance: string;
  /** The number of the next try. */
  readonly attempt: number;
  /** The wait before the next try; absent for a dead letter. */
  readonly wait?: DelayedRetry;
}

/**
 * Copies a message that failed, with a description of its last failure and the time of the first. `most` limits its properties,
 * in bytes.
 */
export function failedCopy(
  { message: original, envelope }: Original,
  { failure, queue, instance, attempt, wait }: FailedCopy,
  most: number | undefined,
): Message {
  const waiting = wait === undefined ? {} : waitHeaders(wait);
  const { name, code, message, stack } = storyOf(failure.error);
  const now = new Date().toISOString();
  const firstFailedAt = protocolHeader(original.properties.headers, header.firstFailedAt) ?? now;
  const headers = {
    ...waiting,
    ...(failure.subscription === undefined ? {} : { [header.subscription]: failure.subscription }),
    [header.error]: code,
    [header.errorName]: name,
    [header.errorMessage]: message,
    [header.errorStack]: stack,
    [header.firstFailedAt]: firstFailedAt,
    [header.failedAt]: now,
    [header.queue]: queue,
    [header.instance]: instance,
  };
  return republished(original, { ...envelope, attempt }, headers, most);
}
