/** The envelope of a received message: what it is, read from the exchange, the routing key, the properties and the headers. */

import { pathOfKey, shortString, whyNoReturn, withSlash } from "./address.ts";
import { header, textIn } from "./codec.ts";
import type { Message, WireHeaders } from "./message.ts";

/** The nature of a message, which stays when it is published again. */
export interface Envelope {
  readonly kind: "call" | "send" | "event";
  /** With a leading slash; empty if a command came without its path. */
  readonly path: string;
  /** Name of the sender; empty if unknown. */
  readonly from: string;
  readonly messageId: string;
  /** Number of this try, from 1. */
  readonly attempt: number;
  /** The time that is left to wait before it may be handled, in milliseconds. */
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
  /** True if an instance gave it back without having finished it. */
  readonly isGivenBack: boolean;
  /** Why nobody can be told the answer of a call, as `whyNoReturn` says; `undefined` if its caller can, and for other kinds. */
  readonly noReturn: string | undefined;
  /** True if its sender takes gathered replies, and wants to know how many calls the service takes in one message. */
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
  const told = headers === undefined ? nothing : toldBy(headers);
  const isEvent = eventKey !== undefined;
  const named = isEvent ? "" : text(told.path ?? type);
  return {
    kind: isEvent ? "event" : lane === "calls" ? "call" : told.kind === "event" ? "event" : "send",
    from: told.from ?? text(appId),
    attempt: wholeNumber(told.attempt) || 1,
    waitMs: wholeNumber(told.wait) ?? 0,
    unclaimedMs: wholeNumber(told.unclaimed) ?? 0,
    replay: told.replay ?? "",
    deaths: wholeNumber(told.deaths) ?? 0,
    expiresMs: wholeNumber(told.expires ?? text(expiration)),
    query: told.query ?? "",
    subscription: told.subscription,
    isGivenBack: told.givenBack !== undefined,
    // For its own `reply_to`: a header that was passed on, to another service or back, asks nothing.
    asksForBatches: told.gather !== undefined && told.gather === replyTo,
    path: isEvent ? pathOfKey(eventKey) : named === "" ? "" : withSlash(named),
    messageId: shortString(messageId) || shortString(correlationId) || newId(),
    noReturn: lane === "calls" ? whyNoReturn(message.properties) : undefined,
  };
}

/** The headers that an envelope is read from, by their names in {@link header}. */
type EnvelopeHeaders = Record<(typeof readNames)[number], string | undefined>;

const readNames = [
  "path",
  "kind",
  "from",
  "attempt",
  "wait",
  "unclaimed",
  "replay",
  "deaths",
  "expires",
  "query",
  "subscription",
  "givenBack",
  "gather",
] as const;

const readHeaders: ReadonlyMap<string, keyof EnvelopeHeaders> = new Map(
  readNames.map((name) => [header[name], name]),
);

const nothing = Object.fromEntries(readNames.map((name) => [name, undefined])) as EnvelopeHeaders;

// One pass over the headers. Most messages have none of these, and then all of them hold their defaults.
function toldBy(headers: WireHeaders): Readonly<EnvelopeHeaders> {
  let told: EnvelopeHeaders | undefined;
  for (const name in headers) {
    const field = readHeaders.get(name);
    // Own ones only: a header named `__proto__` may have made others the table's prototype.
    if (field === undefined || !Object.hasOwn(headers, name)) continue;
    told ??= { ...nothing };
    told[field] = textIn(headers[name]);
  }
  return told ?? nothing;
}

// Of at most ten digits: as milliseconds, 115 days.
function wholeNumber(value: string | undefined): number | undefined {
  return value !== undefined && /^\d{1,10}$/.test(value) ? Number(value) : undefined;
}

// AMQP clients can put anything into a property; only text means something here.
function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
