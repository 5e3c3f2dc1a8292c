/**
 * The metadata of a message: read from its exchange, routing key, properties and headers, and written into its copies. Copies
 * are published as dead letters, into a delay queue, as due events, or to be handled alone.
 */

import { fitsShortString, isShortString, pathOfKey, shortString, whyNoReturn, withSlash } from "./address.ts";
import { header, isPlain, protocolHeader, textIn, userHeaders } from "./codec.ts";
import { fittingHeaders, mostPropertyBytes, propertyBytes } from "./encoding/property-size.ts";
import type { Message, Properties, WireHeaders } from "./message.ts";

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

/**
 * Returns a function that makes message ids: the instance's id and a number. They are unique without further random numbers.
 */
export function messageIds(instance: string): () => string {
  let count = 0;
  return () => {
    count += 1;
    return `${instance}-${count.toString(36)}`;
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

/**
 * Makes a durable copy whose properties take at most `most` bytes. Only an allowlist is copied: body, content type and
 * encoding, message id and application headers. Other properties would do harm: `CC` and `BCC` deliver copies elsewhere,
 * `x-death` makes RabbitMQ 3.10 drop the message as a cycle, `user_id` is refused from another user, and `expiration` would
 * shorten the new wait.
 */
export function republished(
  message: Message,
  envelope: Envelope,
  added: Readonly<Record<string, string>>,
  most: number = mostPropertyBytes(),
): Message {
  const { contentType, timestamp, headers: given } = message.properties;
  const contentEncoding = packingOf(message);
  const own: Properties = {
    ...(isShortString(contentType) ? { contentType } : {}),
    ...(contentEncoding === undefined ? {} : { contentEncoding }),
    messageId: envelope.messageId,
    deliveryMode: 2,
    ...(isTimestamp(timestamp) ? { timestamp } : {}),
    mandatory: true,
  };
  const application = Object.entries(userHeaders(given)).filter(isWritable);
  const { kind, isUnpublished, path, attempt, from, query, replay } = envelope;
  const due = protocolHeader(given, header.due);
  const { [header.errorMessage]: errorMessage, [header.errorStack]: errorStack, ...others } = added;
  // In the order of importance, in case there is not room for all. The long texts come last.
  const headers = fittingHeaders(most - propertyBytes(own), {
    texts: [
      [header.kind, isUnpublished ? PUBLISH_KIND : kind],
      [header.path, path],
      [header.attempt, String(attempt)],
      ...Object.entries(others),
      ...(from === "" ? [] : [[header.from, from] as const]),
      ...(query === "" ? [] : [[header.query, query] as const]),
      ...(replay === "" ? [] : [[header.replay, replay] as const]),
      ...(due === undefined ? [] : [[header.due, due] as const]),
      ...application,
    ],
    longTexts: [
      [header.errorMessage, errorMessage],
      [header.errorStack, errorStack],
    ],
  });
  return { body: message.body, properties: { ...own, headers } };
}

/** The headers that describe the failure of a message. */
const storyHeaders: readonly string[] = [
  header.error,
  header.errorName,
  header.errorMessage,
  header.errorStack,
  header.firstFailedAt,
  header.failedAt,
  header.queue,
  header.instance,
];

/** A message and its metadata. */
export interface Original {
  readonly message: Message;
  readonly envelope: Envelope;
}

/** The state of a message that waits. */
export interface DelayedRetry {
  /** How long it has to wait after this pass, in milliseconds. */
  readonly restMs: number;
  readonly unclaimedMs: number;
  readonly expiresMs: number | undefined;
  /** How many instances were lost with the message; only if the wait does not begin a new try. */
  readonly deaths?: number;
}

/** Returns the headers of a copy that waits. A header with its default value is left out. */
export function waitHeaders(wait: DelayedRetry): Readonly<Record<string, string>> {
  const { restMs, unclaimedMs, expiresMs, deaths = 0 } = wait;
  return {
    ...(restMs === 0 ? {} : { [header.wait]: String(restMs) }),
    ...(unclaimedMs === 0 ? {} : { [header.unclaimed]: String(unclaimedMs) }),
    ...(expiresMs === undefined ? {} : { [header.expires]: String(expiresMs) }),
    ...(deaths === 0 ? {} : { [header.deaths]: String(deaths) }),
  };
}

/** Copies a message without a new failure, but with the description of earlier ones. `most` limits its properties, in bytes. */
export function unchangedCopy(
  { message, envelope }: Original,
  added: Readonly<Record<string, string>>,
  most: number | undefined,
): Message {
  const { subscription } = envelope;
  const story = storyHeaders.map((name) => [name, protocolHeader(message.properties.headers, name)] as const);
  const all = {
    ...(subscription === undefined ? {} : { [header.subscription]: subscription }),
    ...Object.fromEntries(story.filter(([, value]) => value !== undefined)),
    ...added,
  };
  return republished(message, envelope, all, most);
}

/**
 * Makes the event of a delayed event that is due. `expiresMs` is how long it may still live, in milliseconds. Only the allowlist
 * is copied, as by {@link republished}.
 */
export function publishedEvent(message: Message, envelope: Envelope, expiresMs: number | undefined): Message {
  const { contentType, timestamp, headers: given } = message.properties;
  const contentEncoding = packingOf(message);
  const { from, query, messageId } = envelope;
  const due = protocolHeader(given, header.due);
  const headers = {
    ...Object.fromEntries(Object.entries(userHeaders(given)).filter(isWritable)),
    ...(query === "" ? {} : { [header.query]: query }),
    ...(due === undefined ? {} : { [header.due]: due }),
  };
  const properties: Properties = {
    ...(isShortString(contentType) ? { contentType } : {}),
    ...(contentEncoding === undefined ? {} : { contentEncoding }),
    messageId,
    ...(from !== "" && fitsShortString(from) ? { appId: from } : {}),
    deliveryMode: 2,
    ...(isTimestamp(timestamp) ? { timestamp } : {}),
    ...(expiresMs === undefined ? {} : { expiration: String(expiresMs) }),
    ...(Object.keys(headers).length === 0 ? {} : { headers }),
  };
  return { body: message.body, properties };
}

/**
 * Copies a call that is to be handled alone. The copy is transient like the original and has its reply queue. It has the time
 * left of the original, because the time that the call spent in a queue is not known. Only the allowlist is copied, and what is
 * needed to answer.
 */
export function republishedCall(
  message: Message,
  { path, from, query }: Envelope,
  most: number = mostPropertyBytes(),
): Message {
  const { body, properties } = message;
  const { contentType, correlationId, replyTo, expiration, headers } = properties;
  const texts = {
    contentType,
    contentEncoding: packingOf(message),
    type: path,
    correlationId,
    replyTo,
    appId: from,
  };
  const kept = Object.entries(texts).filter(([, value]) => value !== "" && isShortString(value));
  const others: Properties = {
    ...(Object.fromEntries(kept) as Properties),
    ...(typeof expiration === "string" ? { expiration } : {}),
    mandatory: true,
  };
  const own = fittingHeaders(most - propertyBytes(others), {
    texts: [
      ...(query === "" ? [] : [[header.query, query] as const]),
      ...(fitsShortString(path) ? [] : [[header.path, path] as const]),
      ...Object.entries(userHeaders(headers)).filter(isWritable),
    ],
    longTexts: [],
  });
  return { body, properties: Object.keys(own).length === 0 ? others : { ...others, headers: own } };
}

// Returns the content encoding if the body is encoded. It must be copied, because the bytes cannot be read without it.
function packingOf({ properties: { contentEncoding } }: Message): string | undefined {
  return isShortString(contentEncoding) && !isPlain(contentEncoding) ? contentEncoding : undefined;
}

// Returns whether a time can be written. A foreign sender's may have lost digits when it was read.
function isTimestamp(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

// Returns whether a header's name can be written. A foreign sender may have used a name that is too long or not UTF-8.
function isWritable([name]: readonly [string, string]): boolean {
  return fitsShortString(name);
}
