/** Converts a letter to JSON, with all of its properties and bytes, and back. */

import { isUtf8 } from "node:buffer";
import { createHash } from "node:crypto";
import { ConfluoError, invalidArgument, show } from "../errors.ts";
import { fitsShortString } from "../protocol/address.ts";
import type { Message, Properties } from "../protocol/message.ts";
import type { AmqpDelivery } from "../transport/amqp-client.ts";
import { type AllProperties, durable, exactProperties, keptHeaders, TEXTS } from "./exact-copy.ts";
import { headerValue, isBase64, type RecordedValue, recordedValue } from "./recorded-value.ts";

/** A dead letter as JSON: a line of a file that `confluo dead export` writes and `confluo dead import` reads. */
export interface DeadLetterRecord {
  /** Version of this format. */
  readonly letter: 1;
  /** The same as `DeadLetter.id`, for readers of the file: an import ignores it. */
  readonly id: string;
  /** The letter's routing key; for an orphan, the queue that it was meant for. */
  readonly key: string;
  /** AMQP's properties except `headers`, `user_id`, `cluster_id` and `delivery_mode`. */
  readonly properties: DeadLetterProperties;
  /** Header values by name, each with its AMQP type. */
  readonly headers: Readonly<Record<string, RecordedValue>>;
  /** Text if the body is UTF-8, else base64. */
  readonly body: { readonly text: string } | { readonly base64: string };
}

/** Properties of a letter, with the names that AMQP clients for JavaScript use. */
export interface DeadLetterProperties extends Omit<Properties, "deliveryMode" | "headers" | "mandatory"> {
  /** 0 to 255. */
  readonly priority?: number;
}

/**
 * Converts a letter to a record.
 *
 * @throws `MALFORMED_MESSAGE` if its headers cannot be read.
 */
export function recordOf(delivery: AmqpDelivery, id: string): DeadLetterRecord {
  const exact = exactProperties(delivery);
  if (exact === undefined)
    throw new ConfluoError("MALFORMED_MESSAGE", `The headers of the letter ${show(id)} cannot be read.`);
  const { headers = {}, deliveryMode: _, mandatory: __, ...properties } = exact;
  const recorded = Object.entries(headers).map(([name, value]) => [name, recordedValue(value)] as const);
  const { body } = delivery.message;
  return {
    letter: 1,
    id,
    key: delivery.key,
    properties,
    headers: Object.fromEntries(recorded),
    body: isUtf8(body) ? { text: textOf(body) } : { base64: bufferOf(body).toString("base64") },
  };
}

/**
 * Converts a record to the message to publish.
 *
 * @param where names the record in the error message: `Letter 3`.
 * @throws `INVALID_ARGUMENT` for a value that is not a valid record.
 */
export function messageOf(record: unknown, where: string): Message {
  if (!isObject(record) || record.letter !== 1)
    throw invalidArgument(where, 'an object that confluo dead export wrote, with "letter": 1', record);
  const { key, properties = {}, headers = {}, body } = record;
  if (typeof key !== "string" || !fitsShortString(key))
    throw invalidArgument(`${where}: key`, "a string of at most 255 bytes", key);
  if (!isObject(properties)) throw invalidArgument(`${where}: properties`, "an object", properties);
  if (!isObject(headers)) throw invalidArgument(`${where}: headers`, "an object", headers);
  const values = Object.entries(headers).map(([name, value]) => {
    if (!fitsShortString(name)) throw invalidArgument(`${where}: a header's name`, "255 bytes at most", name);
    return [name, headerValue(value, `${where}: header ${show(name)}`)] as const;
  });
  const kept = keptHeaders(Object.fromEntries(values));
  return durable(bodyOf(body, where), {
    ...propertiesOf(properties, where),
    ...(Object.keys(kept).length === 0 ? {} : { headers: kept }),
  });
}

/**
 * Returns a fingerprint that is the same for all copies of a letter. It excludes everything that a broker or a walk added.
 *
 * @param key distinguishes orphans; `undefined` if all letters of the queue have the same key.
 */
export function fingerprintOf({ body, properties }: Message, key: string | undefined): string {
  const { expiration: _, deliveryMode: __, mandatory: ___, headers = {}, ...others } = properties;
  const own = Object.entries(headers).filter(([name]) => !name.startsWith("x-"));
  const values = own.map(([name, value]) => [name, recordedValue(value)] as const);
  const parts = [key ?? null, sorted(others), sorted(Object.fromEntries(values))];
  return createHash("sha256").update(JSON.stringify(parts)).update(body).digest("base64url");
}

// RabbitMQ sorts the entries of tables.
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isObject(value)) return value;
  return Object.entries(value)
    .map(([name, each]) => [name, sorted(each)] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1));
}

function propertiesOf(given: Readonly<Record<string, unknown>>, where: string): AllProperties {
  const known: readonly string[] = [...TEXTS, "priority", "timestamp"];
  for (const [name, value] of Object.entries(given)) {
    const what = `${where}: properties.${name}`;
    if (!known.includes(name)) throw invalidArgument(what, `one of ${known.join(", ")}`, value);
    if (name === "priority" || name === "timestamp") {
      const most = name === "priority" ? 255 : Number.MAX_SAFE_INTEGER;
      if (!Number.isSafeInteger(value) || (value as number) < 0 || (value as number) > most)
        throw invalidArgument(what, `a whole number from 0 to ${most}`, value);
    } else if (typeof value !== "string" || !fitsShortString(value))
      throw invalidArgument(what, "a string of at most 255 bytes", value);
    else if (name === "expiration" && !(/^\d{1,10}$/.test(value) && Number(value) < 2 ** 32))
      throw invalidArgument(what, "milliseconds as digits, less than 2^32", value);
  }
  return given as AllProperties;
}

function bodyOf(given: unknown, where: string): Uint8Array {
  const { text, base64 } = isObject(given) ? given : {};
  if (typeof text === "string" && base64 === undefined && text.isWellFormed()) return Buffer.from(text);
  if (typeof base64 === "string" && text === undefined && isBase64(base64))
    return Buffer.from(base64, "base64");
  throw invalidArgument(`${where}: body`, '{ "text": … } or { "base64": … }', given);
}

// Keeps a byte order mark, if there is one.
function textOf(bytes: Uint8Array): string {
  return bufferOf(bytes).toString("utf8");
}

function bufferOf({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
