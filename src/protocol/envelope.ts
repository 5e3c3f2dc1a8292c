/** What a received message is: read from the exchange, the routing key, the properties and the headers. */

import { fitsShortString, pathOfKey, withSlash } from "./address.ts";
import { header, protocolHeader } from "./codec.ts";
import type { Message, WireHeaders } from "./message.ts";

/** What a message is, and stays when it is published again. */
export interface Envelope {
  readonly kind: "call" | "send" | "event";
  /** With a leading slash; empty if a command came without its path. */
  readonly path: string;
  /** Name of the sender; empty if unknown. */
  readonly from: string;
  readonly messageId: string;
  /** Number of this try, from 1. */
  readonly attempt: number;
  /** What is left to wait before it may be handled, in milliseconds. */
  readonly waitMs: number;
  /** How long it went round for want of a handler, in milliseconds. */
  readonly unclaimedMs: number;
  /** Which replay it is of, so that it is not taken for what was tried before; empty if none. */
  readonly replay: string;
  /** How many instances are known to have died on it. */
  readonly deaths: number;
  /** How long it may live from now on, in milliseconds; `undefined` for ever. */
  readonly expiresMs: number | undefined;
  /** Query string; empty if none. */
  readonly query: string;
  /** The pattern of the one subscription that a republished event is for. */
  readonly subscription: string | undefined;
}

/** How a message arrived. */
export interface Arrival {
  readonly lane: "calls" | "inbox" | "instance";
  /** Its routing key, if it came through an exchange for events. */
  readonly eventKey: string | undefined;
  /** Its identity if it has none of its own. */
  readonly newId: () => string;
}

/** Tells what a message is. Never throws, whatever a foreign sender wrote. */
export function readEnvelope(message: Message, { lane, eventKey, newId }: Arrival): Envelope {
  const { type, messageId, correlationId, appId, expiration, headers } = message.properties;
  const id = identity(messageId) || identity(correlationId) || newId();
  // Most messages have no headers, and then all of it holds its default.
  const told = isEmpty(headers) ? undefined : headers;
  const isEvent = eventKey !== undefined;
  const named = isEvent ? pathOfKey(eventKey) : (protocolHeader(told, header.path) ?? text(type));
  return {
    kind: isEvent ? "event" : kindOf(lane, told),
    path: named === "" ? "" : withSlash(named),
    from: protocolHeader(told, header.from) ?? text(appId),
    messageId: id,
    attempt: numberIn(told, header.attempt) || 1,
    waitMs: numberIn(told, header.wait) ?? 0,
    unclaimedMs: numberIn(told, header.unclaimed) ?? 0,
    replay: protocolHeader(told, header.replay) ?? "",
    deaths: numberIn(told, header.deaths) ?? 0,
    expiresMs: wholeNumber(protocolHeader(told, header.expires) ?? text(expiration)),
    query: protocolHeader(told, header.query) ?? "",
    subscription: protocolHeader(told, header.subscription),
  };
}

function kindOf(lane: Arrival["lane"], headers: WireHeaders | undefined): Envelope["kind"] {
  if (lane === "calls") return "call";
  return protocolHeader(headers, header.kind) === "event" ? "event" : "send";
}

function isEmpty(headers: WireHeaders | undefined): boolean {
  for (const _ in headers) return false;
  return true;
}

function numberIn(headers: WireHeaders | undefined, name: string): number | undefined {
  return headers === undefined ? undefined : wholeNumber(protocolHeader(headers, name));
}

// Of at most ten digits: as milliseconds, 115 days.
function wholeNumber(value: string | undefined): number | undefined {
  return value !== undefined && /^\d{1,10}$/.test(value) ? Number(value) : undefined;
}

// Bytes that are no UTF-8 grow when they are read as text: such an id could not be written again.
function identity(value: unknown): string {
  const id = text(value);
  return fitsShortString(id) ? id : "";
}

// AMQP clients can put anything into a property; only text means something here.
function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
