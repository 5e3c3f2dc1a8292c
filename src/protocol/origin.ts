/** What a received message is: read from the exchange, the routing key, the properties and the headers. */

import { fitsShortString, pathOfKey, withSlash } from "./address.ts";
import { header, protocolHeader } from "./codec.ts";
import type { Message, WireHeaders } from "./message.ts";

/** What a message is, and stays when it is published again. */
export interface Origin {
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
export function originOf(message: Message, { lane, eventKey, newId }: Arrival): Origin {
  const { type, messageId, correlationId, appId, expiration, headers } = message.properties;
  return {
    ...kindAndPath(lane, eventKey, type, headers),
    from: protocolHeader(headers, header.from) ?? text(appId),
    messageId: identity(messageId) || identity(correlationId) || newId(),
    attempt: wholeNumber(protocolHeader(headers, header.attempt)) || 1,
    waitMs: wholeNumber(protocolHeader(headers, header.wait)) ?? 0,
    unclaimedMs: wholeNumber(protocolHeader(headers, header.unclaimed)) ?? 0,
    replay: protocolHeader(headers, header.replay) ?? "",
    deaths: wholeNumber(protocolHeader(headers, header.deaths)) ?? 0,
    expiresMs: wholeNumber(protocolHeader(headers, header.expires) ?? text(expiration)),
    query: protocolHeader(headers, header.query) ?? "",
    subscription: protocolHeader(headers, header.subscription),
  };
}

function kindAndPath(
  lane: Arrival["lane"],
  eventKey: string | undefined,
  type: unknown,
  headers: WireHeaders | undefined,
): Pick<Origin, "kind" | "path"> {
  if (eventKey !== undefined) return { kind: "event", path: pathOfKey(eventKey) };
  const path = protocolHeader(headers, header.path) ?? text(type);
  const kind =
    lane === "calls" ? "call" : protocolHeader(headers, header.kind) === "event" ? "event" : "send";
  return { kind, path: path === "" ? "" : withSlash(path) };
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
