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
  const { type, messageId, correlationId, appId, headers } = message.properties;
  return {
    ...kindAndPath(lane, eventKey, type, headers),
    from: protocolHeader(headers, header.from) ?? text(appId),
    messageId: identity(messageId) || identity(correlationId) || newId(),
    attempt: attemptOf(protocolHeader(headers, header.attempt)),
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

function attemptOf(value: string | undefined): number {
  if (value === undefined || !/^[1-9]\d{0,8}$/.test(value)) return 1;
  return Number(value);
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
