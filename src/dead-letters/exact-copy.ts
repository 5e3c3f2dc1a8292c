/** Makes an exact copy of a letter, to put it back into its queue or to export it, with everything that a publisher can set. */

import { fitsShortString } from "../protocol/address.ts";
import { header, isTable } from "../protocol/codec.ts";
import { readFieldTable } from "../protocol/encoding/field-table.ts";
import type { Message, Properties, WireHeaders } from "../protocol/message.ts";
import type { AmqpDelivery } from "../transport/amqp-client.ts";

/** A message's properties, including those of AMQP that confluo itself does not use. */
export interface AllProperties extends Properties {
  readonly priority?: number;
}

/** Properties whose values are short strings. */
export const TEXTS = [
  "contentType",
  "contentEncoding",
  "type",
  "messageId",
  "correlationId",
  "replyTo",
  "appId",
  "expiration",
] as const;

// Headers that the broker adds to a delivery, and headers that would send copies to other queues. `user_id` is left out as
// well, because a broker accepts it only from that user.
const LEFT_BEHIND: ReadonlySet<string> = new Set([
  "x-delivery-count",
  "x-acquired-count",
  "CC",
  "BCC",
  header.putBack,
]);

/** Stands for the reply queue of the publishing connection, so no other connection can use it. */
const DIRECT_REPLY_TO = "amq.rabbitmq.reply-to";

/**
 * Returns how many times a message was returned to its queue unacknowledged, if the queue counts that. If an operator has set a
 * `delivery-limit`, the broker discards messages that are returned more often.
 */
export function returnsOf({ message, redelivered }: AmqpDelivery): number {
  const count = message.properties.headers?.["x-delivery-count"];
  return redelivered && typeof count === "number" ? count : 0;
}

/**
 * Returns the properties of a letter, with each header in its original AMQP type.
 *
 * @returns `undefined` if its headers cannot be read.
 */
export function exactProperties({ message, headerBytes }: AmqpDelivery): AllProperties | undefined {
  const given = message.properties as AllProperties;
  const headers = headersOf(given.headers, headerBytes);
  if (headers === undefined) return undefined;
  const texts = TEXTS.flatMap((name) => {
    const text: unknown = given[name];
    return typeof text === "string" && fitsShortString(text) && text !== DIRECT_REPLY_TO
      ? [[name, text] as const]
      : [];
  });
  const { priority, timestamp } = given;
  return {
    ...(Object.fromEntries(texts) as Properties),
    ...(typeof priority === "number" ? { priority } : {}),
    ...(typeof timestamp === "number" ? { timestamp } : {}),
    ...(Object.keys(headers).length === 0 ? {} : { headers }),
  };
}

/**
 * Returns the message that puts a letter back, `undefined` if it cannot be made. Once confirmed, the broker keeps it safely.
 */
export function exactCopy(delivery: AmqpDelivery, look: string): Message | undefined {
  const properties = exactProperties(delivery);
  if (properties === undefined) return undefined;
  const headers = { ...properties.headers, [header.putBack]: look };
  return durable(delivery.message.body, { ...properties, headers });
}

/** Returns whether a letter is a copy that the given walk put back. `look` is the walk's id. */
export function isCopyOf({ message }: AmqpDelivery, look: string): boolean {
  return message.properties.headers?.[header.putBack] === look;
}

/** Returns a persistent, mandatory message with the body and properties of a letter. */
export function durable(body: Uint8Array, properties: AllProperties): Message {
  return { body, properties: { ...properties, deliveryMode: 2, mandatory: true } };
}

/** Returns headers without those that only the broker may set. */
export function keptHeaders(headers: WireHeaders): WireHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !LEFT_BEHIND.has(name)));
}

function headersOf(given: unknown, bytes: Uint8Array | undefined): WireHeaders | undefined {
  if (bytes === undefined) return keptHeaders(isTable(given) ? given : {});
  try {
    return keptHeaders(readFieldTable(bytes));
  } catch {
    return undefined;
  }
}
