/** How a message is published again: into the dead-letter queue, round a delay level, or to be tried again alone. */

import { fitsShortString, isShortString } from "./address.ts";
import { header, isPlain, userHeaders } from "./codec.ts";
import { fittingHeaders, mostPropertyBytes, propertyBytes } from "./encoding/property-size.ts";
import type { Envelope } from "./envelope.ts";
import type { Message, Properties } from "./message.ts";

/**
 * Makes a durable copy, whose properties take at most `most` bytes. Goes by an allowlist: body, content type and encoding,
 * message id and application headers. Everything else that a foreign sender or the broker put there is left behind: `CC` and
 * `BCC` would deliver copies elsewhere, `x-death` makes RabbitMQ 3.10 drop the message as a cycle, `user_id` is refused from
 * another user, `expiration` would cut the new wait short.
 */
export function republished(
  message: Message,
  envelope: Envelope,
  added: Readonly<Record<string, string>>,
  most: number = mostPropertyBytes(),
): Message {
  const { contentType, headers: given } = message.properties;
  const contentEncoding = packingOf(message);
  const own: Properties = {
    ...(isShortString(contentType) ? { contentType } : {}),
    ...(contentEncoding === undefined ? {} : { contentEncoding }),
    messageId: envelope.messageId,
    deliveryMode: 2,
    mandatory: true,
  };
  const application = Object.entries(userHeaders(given)).filter(isWritable);
  const { kind, path, attempt, from, query, replay } = envelope;
  const { [header.errorMessage]: errorMessage, [header.errorStack]: errorStack, ...others } = added;
  // In the order of what they are worth, should there not be room for all: the story's long texts last.
  const headers = fittingHeaders(most - propertyBytes(own), {
    texts: [
      [header.kind, kind],
      [header.path, path],
      [header.attempt, String(attempt)],
      ...Object.entries(others),
      ...(from === "" ? [] : [[header.from, from] as const]),
      ...(query === "" ? [] : [[header.query, query] as const]),
      ...(replay === "" ? [] : [[header.replay, replay] as const]),
      ...application,
    ],
    longTexts: [
      [header.errorMessage, errorMessage],
      [header.errorStack, errorStack],
    ],
  });
  return { body: message.body, properties: { ...own, headers } };
}

/**
 * A call to be tried again alone: transient like the first, answered to the same place, with the same time left, since
 * nobody knows how much of it the queue took. The same allowlist, and what answering needs.
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

// The encoding of the bytes has to go where they go, or nobody can tell later what they are.
function packingOf({ properties: { contentEncoding } }: Message): string | undefined {
  return isShortString(contentEncoding) && !isPlain(contentEncoding) ? contentEncoding : undefined;
}

// A name that is no short string came with a foreign sender's headers, and cannot be written again.
function isWritable([name]: readonly [string, string]): boolean {
  return fitsShortString(name);
}
