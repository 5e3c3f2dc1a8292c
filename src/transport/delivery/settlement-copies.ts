/** Copies of a message that a settled delivery leaves behind: they wait, go back, or are dead letters. */

import { storyOf } from "../../causes.ts";
import { header, protocolHeader } from "../../protocol/codec.ts";
import type { Envelope } from "../../protocol/envelope.ts";
import type { Message } from "../../protocol/message.ts";
import { republished } from "../../protocol/republish.ts";
import type { Failure, Hop } from "../../retry/outcome.ts";

/** The headers that tell the story of a message that failed. */
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

/** The headers of a copy that waits. */
interface DelayedRetry {
  readonly hop: Hop;
  readonly unclaimedMs: number;
  readonly expiresMs: number | undefined;
  /** How many instances are known to have died on it, if it is the same try that goes on. */
  readonly deaths?: number;
}

/** Returns the headers of a copy that waits, each left out when it holds its default. */
export function waitHeaders(wait: DelayedRetry): Readonly<Record<string, string>> {
  const { hop, unclaimedMs, expiresMs, deaths = 0 } = wait;
  return {
    ...(hop.restMs === 0 ? {} : { [header.wait]: String(hop.restMs) }),
    ...(unclaimedMs === 0 ? {} : { [header.unclaimed]: String(unclaimedMs) }),
    ...(expiresMs === undefined ? {} : { [header.expires]: String(expiresMs) }),
    ...(deaths === 0 ? {} : { [header.deaths]: String(deaths) }),
  };
}

/** A message, and what it is. */
interface Original {
  readonly message: Message;
  readonly envelope: Envelope;
}

/** Copies a message as it is, with its failures so far. `most` bounds its properties, in bytes. */
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

/** The failure that a copy tells of. */
interface FailedCopy {
  readonly failure: Failure;
  /** The queue that the message came from. */
  readonly queue: string;
  /** The instance that it failed in. */
  readonly instance: string;
  /** Number of the next try. */
  readonly attempt: number;
  /** How it waits before that; absent for a dead letter. */
  readonly wait?: DelayedRetry;
}

/** Copies a message that failed, with the details of the first and the last failure. `most` bounds its properties, in bytes. */
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
