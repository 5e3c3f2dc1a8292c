/** A letter as it is, to be put back or written down: all that a publisher can say of a message. */

import { fitsShortString } from "../protocol/address.ts";
import { header, isTable } from "../protocol/codec.ts";
import { readFieldTable } from "../protocol/encoding/field-table.ts";
import type { Message, Properties, WireHeaders } from "../protocol/message.ts";
import type { AmqpDelivery } from "../transport/amqp-client.ts";

/** Properties of AMQP that confluo does not use, and keeps. */
export interface AllProperties extends Properties {
  readonly priority?: number;
  /** In seconds. */
  readonly timestamp?: number;
}

/** Properties that are short texts. */
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

// Headers that the broker writes of a delivery, and those that would send copies elsewhere. Also left behind is `user_id`, which a broker takes
// from that user alone.
const LEFT_BEHIND: ReadonlySet<string> = new Set([
  "x-delivery-count",
  "x-acquired-count",
  "CC",
  "BCC",
  header.putBack,
]);

/** It stands for the queue of whoever publishes, which nobody else can name. */
const DIRECT_REPLY_TO = "amq.rabbitmq.reply-to";

/**
 * How often a message came back to its queue unacknowledged, as far as the queue counts. Where an operator has limited that, the
 * broker throws away what comes back once too often.
 */
export function returnsOf({ message, redelivered }: AmqpDelivery): number {
  const count = message.properties.headers?.["x-delivery-count"];
  return redelivered && typeof count === "number" ? count : 0;
}

/**
 * The properties of a letter, with headers of the types that they came in.
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

/** The message that puts a letter back: safe at the broker when it is confirmed. `undefined` if it cannot be written. */
export function exactCopy(delivery: AmqpDelivery, look: string): Message | undefined {
  const properties = exactProperties(delivery);
  if (properties === undefined) return undefined;
  const headers = { ...properties.headers, [header.putBack]: look };
  return durable(delivery.message.body, { ...properties, headers });
}

/** Returns whether a letter was put back by this look. */
export function isCopyOf({ message }: AmqpDelivery, look: string): boolean {
  return message.properties.headers?.[header.putBack] === look;
}

/** A message that is published for a letter to be. */
export function durable(body: Uint8Array, properties: AllProperties): Message {
  return { body, properties: { ...properties, deliveryMode: 2, mandatory: true } };
}

/** Headers without those that are not a publisher's to say. */
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
