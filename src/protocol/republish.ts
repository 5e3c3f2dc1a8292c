/** How a message is published again: into the dead-letter queue, round a delay level, or to be tried again alone. */

import { fitsShortString } from "./address.ts";
import { header, headerBytes, isPlain, userHeaders } from "./codec.ts";
import { mostPropertyBytes, propertyBytes } from "./encoding/property-size.ts";
import type { Envelope } from "./envelope.ts";
import type { Message, Properties } from "./message.ts";

/**
/**
 * A durable copy, whose properties take at most `most` bytes. Goes by an allowlist: body, content type and encoding, message id
 * and application headers. Everything else that a
 * foreign sender or the broker put there is left behind: `CC` and `BCC` would deliver copies elsewhere, `x-death` makes
 * RabbitMQ 3.10 drop the message as a cycle, `user_id` is refused from another user, `expiration` would cut the new wait
 * short.
 */
export function republished(
  message: Message,
  envelope: Envelope,
  added: Readonly<Record<string, string>>,
  most: number = mostPropertyBytes(),
): Message {
  const optional: readonly (readonly [string, string])[] = [
    [header.from, envelope.from],
    [header.query, envelope.query],
    [header.replay, envelope.replay],
  ];
  const { contentType } = message.properties;
  const contentEncoding = packingOf(message);
  const own: Properties = {
    ...(isShortString(contentType) ? { contentType } : {}),
    ...(contentEncoding === undefined ? {} : { contentEncoding }),
    messageId: envelope.messageId,
    deliveryMode: 2,
    mandatory: true,
  };
  // In the order of what they are worth, should there not be room for all: the story's long texts last.
  const headers = fitting(most - propertyBytes(own), [
    [header.kind, envelope.kind],
    [header.path, envelope.path],
    [header.attempt, String(envelope.attempt)],
    ...Object.entries(added).filter(([name]) => !isLong(name)),
    ...optional.filter(([, value]) => value !== ""),
    ...Object.entries(userHeaders(message.properties.headers)),
    ...Object.entries(added).filter(([name]) => isLong(name)),
  ]);
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
  const own = fitting(most - propertyBytes(others), [
    ...(query === "" ? [] : [[header.query, query] as const]),
    ...(fitsShortString(path) ? [] : [[header.path, path] as const]),
    ...Object.entries(userHeaders(headers)),
  ]);
  return { body, properties: Object.keys(own).length === 0 ? others : { ...others, headers: own } };
}

// What the bytes are packed with has to go where they go, or nobody can tell later what they are.
function packingOf({ properties: { contentEncoding } }: Message): string | undefined {
  return isShortString(contentEncoding) && !isPlain(contentEncoding) ? contentEncoding : undefined;
}

function isShortString(value: unknown): value is string {
  return typeof value === "string" && fitsShortString(value);
}

function isLong(name: string): boolean {
  return name === header.errorMessage || name === header.errorStack;
}

// AMQP clients encode a header table into 64 KiB, and the connection may take less. What a foreign sender wrote may leave no room for the story: then that is
// cut short, and if there is still no room, it is the sender's headers that go, from the last one on, never the message.
const TABLE_BYTES = 48 * 1024;

function fitting(most: number, entries: readonly (readonly [string, string])[]): Record<string, string> {
  let left = Math.min(TABLE_BYTES, most);
  const kept: [string, string][] = [];
  for (const [name, whole] of entries) {
    const value = isLong(name) ? cutToBytes(whole, left - headerBytes(name, "")) : whole;
    const bytes = headerBytes(name, value);
    if (!fitsShortString(name) || bytes > left) continue;
    left -= bytes;
    kept.push([name, value]);
  }
  return Object.fromEntries(kept);
}

function cutToBytes(text: string, bytes: number): string {
  if (Buffer.byteLength(text) <= bytes) return text;
  // A character that is cut in two is left out.
  return new TextDecoder()
    .decode(Buffer.from(text).subarray(0, Math.max(0, bytes - 4)))
    .replace(/\uFFFD$/, "");
}
