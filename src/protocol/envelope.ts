/** What a received message is: read from the exchange, the routing key, the properties and the headers. */

import { pathOfKey, shortString, whyNoReturn, withSlash } from "./address.ts";
import { header } from "./codec.ts";
import { textIn } from "./encoding/header-text.ts";
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
  /** Whether an instance gave it back without having finished it. */
  readonly isGivenBack: boolean;
  /** Why nobody can be told the answer of a call, as `whyNoReturn` says; `undefined` if its caller can, and for other kinds. */
  readonly noReturn: string | undefined;
  /** Whether its sender takes gathered replies, and wants to know how many calls the service takes in one message. */
  readonly asksForBatches: boolean;
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
  const { type, messageId, correlationId, replyTo, appId, expiration, headers } = message.properties;
  const told = toldBy(headers ?? nothing);
  const isEvent = eventKey !== undefined;
  const named = isEvent ? "" : text(told[header.path] ?? type);
  return {
    kind: isEvent ? "event" : lane === "calls" ? "call" : told[header.kind] === "event" ? "event" : "send",
    from: told[header.from] ?? text(appId),
    attempt: wholeNumber(told[header.attempt]) || 1,
    waitMs: wholeNumber(told[header.wait]) ?? 0,
    unclaimedMs: wholeNumber(told[header.unclaimed]) ?? 0,
    replay: told[header.replay] ?? "",
    deaths: wholeNumber(told[header.deaths]) ?? 0,
    expiresMs: wholeNumber(told[header.expires] ?? text(expiration)),
    query: told[header.query] ?? "",
    subscription: told[header.subscription],
    isGivenBack: told[header.givenBack] !== undefined,
    // For its own `reply_to`: a header that was passed on, to another service or back, asks nothing.
    asksForBatches: told[header.gather] !== undefined && told[header.gather] === replyTo,
    path: isEvent ? pathOfKey(eventKey) : named === "" ? "" : withSlash(named),
    messageId: shortString(messageId) || shortString(correlationId) || newId(),
    noReturn: lane === "calls" ? whyNoReturn(message.properties) : undefined,
  };
}

type EnvelopeHeaders = Readonly<Record<string, string | undefined>>;

const nothing: EnvelopeHeaders = Object.freeze(Object.create(null));

// One pass over the headers. Most messages have none of these, and then all of them hold their defaults.
function toldBy(headers: WireHeaders): EnvelopeHeaders {
  let told: Record<string, string | undefined> | undefined;
  for (const name in headers) {
    // Own ones only: a header named `__proto__` may have made others the table's prototype.
    if (!read.has(name) || !Object.hasOwn(headers, name)) continue;
    told ??= Object.create(null) as Record<string, string | undefined>;
    told[name] = textIn(headers[name]);
  }
  return told ?? nothing;
}

const read: ReadonlySet<string> = new Set([
  header.path,
  header.kind,
  header.from,
  header.attempt,
  header.wait,
  header.unclaimed,
  header.replay,
  header.deaths,
  header.expires,
  header.query,
  header.subscription,
  header.givenBack,
  header.gather,
]);

// Of at most ten digits: as milliseconds, 115 days.
function wholeNumber(value: string | undefined): number | undefined {
  return value !== undefined && /^\d{1,10}$/.test(value) ? Number(value) : undefined;
}

// AMQP clients can put anything into a property; only text means something here.
function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
