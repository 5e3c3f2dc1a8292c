/** Copies messages to be published again: as dead letters, into a delay queue, or to be handled alone. */

import { fitsShortString, isShortString } from "./address.ts";
import { header, isPlain, protocolHeader, userHeaders } from "./codec.ts";
import { fittingHeaders, mostPropertyBytes, propertyBytes } from "./encoding/property-size.ts";
import { type Envelope, PUBLISH_KIND } from "./envelope.ts";
import type { Message, Properties } from "./message.ts";

/**
 * Makes a durable copy whose properties take at most `most` bytes. Only an allowlist is copied: body, content type and
 * encoding, message id and application headers. Other properties would do harm: `CC` and `BCC` deliver copies elsewhere,
 * `x-death` makes RabbitMQ 3.10 drop the message as a cycle, `user_id` is refused from another user, and `expiration` would
 * shorten the new wait.
 */
export function republished(
  message: Message,
  envelope: Envelope,
  added: Readonly<Record<string, string>>,
  most: number = mostPropertyBytes(),
): Message {
  const { contentType, timestamp, headers: given } = message.properties;
  const contentEncoding = packingOf(message);
  const own: Properties = {
    ...(isShortString(contentType) ? { contentType } : {}),
    ...(contentEncoding === undefined ? {} : { contentEncoding }),
    messageId: envelope.messageId,
    deliveryMode: 2,
    ...(isTimestamp(timestamp) ? { timestamp } : {}),
    mandatory: true,
  };
  const application = Object.entries(userHeaders(given)).filter(isWritable);
  const { kind, isUnpublished, path, attempt, from, query, replay } = envelope;
  const due = protocolHeader(given, header.due);
  const { [header.errorMessage]: errorMessage, [header.errorStack]: errorStack, ...others } = added;
  // In the order of importance, in case there is not room for all. The long texts come last.
  const headers = fittingHeaders(most - propertyBytes(own), {
    texts: [
      [header.kind, isUnpublished ? PUBLISH_KIND : kind],
      [header.path, path],
      [header.attempt, String(attempt)],
      ...Object.entries(others),
      ...(from === "" ? [] : [[header.from, from] as const]),
      ...(query === "" ? [] : [[header.query, query] as const]),
      ...(replay === "" ? [] : [[header.replay, replay] as const]),
      ...(due === undefined ? [] : [[header.due, due] as const]),
      ...application,
    ],
    longTexts: [
      [header.errorMessage, errorMessage],
      [header.errorStack, errorStack],
    ],
  });
  return { body: message.body, properties: { ...own, headers } };
}

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

/** A message and its metadata. */
export interface Original {
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

/**
 * Makes the event of a delayed event that is due. `expiresMs` is how long it may still live, in milliseconds. Only the allowlist
 * is copied, as by {@link republished}.
 */
export function publishedEvent(message: Message, envelope: Envelope, expiresMs: number | undefined): Message {
  const { contentType, timestamp, headers: given } = message.properties;
  const contentEncoding = packingOf(message);
  const { from, query, messageId } = envelope;
  const due = protocolHeader(given, header.due);
  const headers = {
    ...Object.fromEntries(Object.entries(userHeaders(given)).filter(isWritable)),
    ...(query === "" ? {} : { [header.query]: query }),
    ...(due === undefined ? {} : { [header.due]: due }),
  };
  const properties: Properties = {
    ...(isShortString(contentType) ? { contentType } : {}),
    ...(contentEncoding === undefined ? {} : { contentEncoding }),
    messageId,
    ...(from !== "" && fitsShortString(from) ? { appId: from } : {}),
    deliveryMode: 2,
    ...(isTimestamp(timestamp) ? { timestamp } : {}),
    ...(expiresMs === undefined ? {} : { expiration: String(expiresMs) }),
    ...(Object.keys(headers).length === 0 ? {} : { headers }),
  };
  return { body: message.body, properties };
}

/**
 * Copies a call that is to be handled alone. The copy is transient like the original and has its reply queue. It has the time
 * left of the original, because the time that the call spent in a queue is not known. Only the allowlist is copied, and what is
 * needed to answer.
 */
export function republishedCall(
  message: Message,
  { path, from, query }: Envelope,
  most: number = mostPropertyBytes(),
): Message {
  const { body, properties } = message;
  const { contentType, correlationId, replyTo, expiration, headers } = properties;
  const texts = {
    contentType,
    contentEncoding: packingOf(message),
    type: path,
    correlationId,
    replyTo,
    appId: from,
  };
  const kept = Object.entries(texts).filter(([, value]) => value !== "" && isShortString(value));
  const others: Properties = {
    ...(Object.fromEntries(kept) as Properties),
    ...(typeof expiration === "string" ? { expiration } : {}),
    mandatory: true,
  };
  const own = fittingHeaders(most - propertyBytes(others), {
    texts: [
      ...(query === "" ? [] : [[header.query, query] as const]),
      ...(fitsShortString(path) ? [] : [[header.path, path] as const]),
      ...Object.entries(userHeaders(headers)).filter(isWritable),
    ],
    longTexts: [],
  });
  return { body, properties: Object.keys(own).length === 0 ? others : { ...others, headers: own } };
}

// Returns the content encoding if the body is encoded. It must be copied, because the bytes cannot be read without it.
function packingOf({ properties: { contentEncoding } }: Message): string | undefined {
  return isShortString(contentEncoding) && !isPlain(contentEncoding) ? contentEncoding : undefined;
}

// Returns whether a time can be written. A foreign sender's may have lost digits when it was read.
function isTimestamp(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

// Returns whether a header's name can be written. A foreign sender may have used a name that is too long or not UTF-8.
function isWritable([name]: readonly [string, string]): boolean {
  return fitsShortString(name);
}
