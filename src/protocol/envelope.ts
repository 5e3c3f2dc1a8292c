/** The metadata of a received message, read from its exchange, routing key, properties and headers. */

import { pathOfKey, shortString, whyNoReturn, withSlash } from "./address.ts";
import { header, textIn } from "./codec.ts";
import type { Message, WireHeaders } from "./message.ts";

/** The metadata of a message, which stays the same when the message is published again. */
export interface Envelope {
  readonly kind: "call" | "send" | "event";
  /** True for a delayed event that is due and still to be published. */
  readonly isUnpublished: boolean;
  /** The path with a leading slash; empty if a command came without one. */
  readonly path: string;
  /** The name of the sender; empty if it is not known. */
  readonly from: string;
  readonly messageId: string;
  /** The number of this try, from 1. */
  readonly attempt: number;
  /** How long the message still has to wait before it may be handled, in milliseconds. */
  readonly waitMs: number;
  /** How long the message has already waited for an instance with a handler, in milliseconds. */
  readonly unclaimedMs: number;
  /**
   * The id of the replay that the message comes from, so that it is not taken for the earlier message; empty if it was not
   * replayed.
   */
  readonly replay: string;
  /** How many instances are known to have been lost while they handled it alone. */
  readonly deaths: number;
  /** How long the message may still live, in milliseconds; `undefined` for no limit. */
  readonly expiresMs: number | undefined;
  /** The query string; empty if there is none. */
  readonly query: string;
  /** The pattern of the one subscription that a republished event is for; `undefined` if it is for all that match. */
  readonly subscription: string | undefined;
  /** True if an instance gave the message back without having finished it. */
  readonly isGivenBack: boolean;
  /** The reason why a call cannot be answered, as `whyNoReturn` returns it; `undefined` if it can be, and for other kinds. */
  readonly noReturn: string | undefined;
  /** True if the sender accepts replies in batches, and asks how many calls the service accepts in one message. */
  readonly asksForBatches: boolean;
}

/** The way in which a message arrived. */
export interface Arrival {
  readonly lane: "calls" | "inbox" | "instance";
  /** The routing key, if the message came through an exchange for events. */
  readonly eventKey: string | undefined;
  /** Makes an id for a message without one. */
  readonly newId: () => string;
}

/** Reads the envelope of a message. Never throws, whatever a foreign sender wrote. */
export function readEnvelope(message: Message, { lane, eventKey, newId }: Arrival): Envelope {
  const { type, messageId, correlationId, replyTo, appId, expiration, headers } = message.properties;
  const told = headers === undefined ? nothing : toldBy(headers);
  const isEvent = eventKey !== undefined;
  const named = isEvent ? "" : text(told.path ?? type);
  return {
    kind: isEvent ? "event" : lane === "calls" ? "call" : isEventKind(told.kind) ? "event" : "send",
    isUnpublished: !isEvent && lane === "inbox" && told.kind === PUBLISH_KIND,
    from: told.from ?? text(appId),
    attempt: wholeNumber(told.attempt) || 1,
    waitMs: wholeNumber(told.wait, 13) ?? 0,
    unclaimedMs: wholeNumber(told.unclaimed) ?? 0,
    replay: told.replay ?? "",
    deaths: wholeNumber(told.deaths) ?? 0,
    expiresMs: wholeNumber(told.expires ?? text(expiration)),
    query: told.query ?? "",
    subscription: told.subscription,
    isGivenBack: told.givenBack !== undefined,
    // The header must equal the message's own `reply_to`. If somebody passes the header on, to another service or back, it has
    // no effect.
    asksForBatches: told.gather !== undefined && told.gather === replyTo,
    path: isEvent ? pathOfKey(eventKey) : named === "" ? "" : withSlash(named),
    messageId: shortString(messageId) || shortString(correlationId) || newId(),
    noReturn: lane === "calls" ? whyNoReturn(message.properties) : undefined,
  };
}

/** The headers that an envelope is read from, by their keys in {@link header}. */
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

// Reads all headers in one pass. Most messages have none of these, so that all fields have their defaults.
function toldBy(headers: WireHeaders): Readonly<EnvelopeHeaders> {
  let told: EnvelopeHeaders | undefined;
  for (const name in headers) {
    const field = readHeaders.get(name);
    // Only own properties count: a header named `__proto__` may have set the table's prototype.
    if (field === undefined || !Object.hasOwn(headers, name)) continue;
    told ??= { ...nothing };
    told[field] = textIn(headers[name]);
  }
  return told ?? nothing;
}

/** The kind of a delayed event on its way to the service that will publish it. */
export const PUBLISH_KIND = "publish";

function isEventKind(kind: string | undefined): boolean {
  return kind === "event" || kind === PUBLISH_KIND;
}

// Accepts at most ten digits, which are 115 days in milliseconds, or as many as are given.
function wholeNumber(value: string | undefined, digits = 10): number | undefined {
  return value !== undefined && value.length <= digits && /^\d+$/.test(value) ? Number(value) : undefined;
}

// AMQP clients can write any value into a property; only text is valid here.
function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
