/** The size of a message's properties. AMQP cannot split them over several frames, as it does a body. */

import type { Properties } from "../message.ts";

/**
 * The bytes of class, weight, body size, flags and the length of the header table, which clients write even if the table is
 * empty.
 */
const FIXED_BYTES = 2 + 2 + 8 + 2 + 4;
/** The other bytes of a frame: type, channel, size and end. */
const FRAME_BYTES = 8;
/** The largest header table that AMQP clients can encode, in bytes. */
const TABLE_BYTES = 64 * 1024;
/** RabbitMQ's default limit on frames, in bytes. */
const USUAL_FRAME = 128 * 1024;

/** Returns the most that the properties of a message may take, in bytes, if frames are limited to `frameBytes`. */
export function mostPropertyBytes(frameBytes: number = USUAL_FRAME): number {
  return Math.min(frameBytes - FRAME_BYTES, TABLE_BYTES);
}

/** Returns the size of properties in a content header, in bytes (AMQP 0-9-1, 4.2.6.1). */
export function propertyBytes({
  headers,
  deliveryMode,
  timestamp,
  mandatory: _,
  ...rest
}: Properties): number {
  // A property that is no text must be counted here, too.
  const texts: Readonly<Record<string, string | undefined>> = rest;
  let bytes = FIXED_BYTES + (deliveryMode === undefined ? 0 : 1) + (timestamp === undefined ? 0 : 8);
  for (const text of Object.values(texts)) if (typeof text === "string") bytes += 1 + Buffer.byteLength(text);
  return bytes + tableBytes(headers ?? none);
}

const none = {} as const;

/** Returns the size of a header in a table, in bytes: both texts, their lengths and a type (AMQP 0-9-1, field tables). */
export function headerBytes(name: string, value: string): number {
  return Buffer.byteLength(name) + Buffer.byteLength(value) + 6;
}

/** Headers in the order of their importance. */
interface RankedHeaders {
  /** Headers that are left out if there is no room. */
  readonly texts: readonly (readonly [name: string, value: string])[];
  /** Headers that are cut if there is not enough room. */
  readonly longTexts: readonly (readonly [name: string, value: string | undefined])[];
}

// The properties of a foreign sender may leave no room for the description of a failure. Then the description is cut. If that
// is not enough, the sender's headers are left out, the last one first. The message itself is always published.
const FITTING_BYTES = 48 * 1024;

/** Returns the headers that fit into `most` bytes, and into a table that every client can encode. */
export function fittingHeaders(most: number, { texts, longTexts }: RankedHeaders): Record<string, string> {
  let left = Math.min(FITTING_BYTES, most);
  const kept: (readonly [string, string])[] = [];
  for (const [name, value] of texts) {
    const bytes = headerBytes(name, value);
    if (bytes > left) continue;
    left -= bytes;
    kept.push([name, value]);
  }
  for (const [name, whole] of longTexts) {
    if (whole === undefined) continue;
    const value = cutToBytes(whole, left - headerBytes(name, ""));
    const bytes = headerBytes(name, value);
    if (bytes > left) continue;
    left -= bytes;
    kept.push([name, value]);
  }
  return Object.fromEntries(kept);
}

// A character that would be cut in two is left out.
function cutToBytes(text: string, bytes: number): string {
  if (Buffer.byteLength(text) <= bytes) return text;
  return new TextDecoder()
    .decode(Buffer.from(text).subarray(0, Math.max(0, bytes - 4)))
    .replace(/\uFFFD$/, "");
}

/** Returns the size of a header table without its length field, in bytes. */
export function tableBytes(table: Readonly<Record<string, unknown>>): number {
  let bytes = 0;
  for (const name of Object.keys(table)) {
    const value = table[name];
    if (value !== undefined) bytes += 1 + Buffer.byteLength(name) + valueBytes(value);
  }
  return bytes;
}

// Numbers and other scalars count as the longest kind.
function valueBytes(value: unknown): number {
  if (typeof value === "string") return 5 + Buffer.byteLength(value);
  if (value instanceof Uint8Array) return 5 + value.length;
  if (Array.isArray(value)) return value.reduce((sum: number, each) => sum + valueBytes(each), 5);
  if (typeof value === "object" && value !== null) return 5 + tableBytes(value as Record<string, unknown>);
  return 9;
}
