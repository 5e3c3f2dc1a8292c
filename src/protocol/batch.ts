/**
 * Batches: several calls to one service, or several replies to one caller, in one message. The broker's work grows with the
 * messages.
 */

import { isDirectReplyTo, whyNoReturn } from "./address.ts";
import { header, JSON_TYPE, malformed, parseJson, protocolHeader, userHeaders } from "./codec.ts";
import { headerBytes, tableBytes } from "./encoding/property-size.ts";
import type { Message, MutableProperties, Properties, WireHeaders } from "./message.ts";

/** The content type of a batch of calls. */
export const CALLS_TYPE = "application/vnd.confluo.calls+json";
/** The content type of a batch of replies. */
export const REPLIES_TYPE = "application/vnd.confluo.replies+json";
/** The content type of several events of one path. */
export const EVENTS_TYPE = "application/vnd.confluo.events+json";

/** A call or reply that takes more than this share of a batch's limit travels by itself. */
const LARGEST_SHARE = 1 / 8;
/**
 * The longest time that a call may wait, in milliseconds, as for single calls. RabbitMQ refuses an expiration of twice as much.
 */
const LONGEST_MS = 2 ** 31 - 1;
/** The most entries of a batch, for senders and receivers. */
export const MOST_ENTRIES = 256;
/** The most events of one message. */
const MOST_EVENTS = 64;

/** The properties that a batch or an entry of it contains. */
type CarriedProperty =
  | "contentType"
  | "type"
  | "correlationId"
  | "replyTo"
  | "appId"
  | "expiration"
  | "headers"
  | "mandatory";

/**
 * All other properties: a message that has one of them travels by itself. The compiler requires an entry for each new property.
 */
const notCarried: Readonly<Record<Exclude<keyof Properties, CarriedProperty>, true>> = {
  contentEncoding: true,
  messageId: true,
  deliveryMode: true,
  timestamp: true,
};
const notCarriedNames = Object.keys(notCarried) as (keyof typeof notCarried)[];

/**
 * Returns whether a call or reply can travel in a batch that is limited to so many bytes: it is small JSON text, and an entry
 * can contain all its properties.
 */
export function isBatchable(message: Message, bytes: number): boolean {
  return batchableLength(message, bytes) !== undefined;
}

/** Returns the bytes that body and headers take in a batch; `undefined` if the message is not {@link isBatchable}. */
export function batchableLength(message: Message, bytes: number): number | undefined {
  const { json, properties } = message;
  const { contentType, correlationId, headers } = properties;
  if (json === undefined || contentType !== JSON_TYPE || correlationId === undefined) return undefined;
  for (const name of notCarriedNames) if (properties[name] !== undefined) return undefined;
  let length = message.length ?? Buffer.byteLength(json);
  if (headers !== undefined)
    for (const name of Object.keys(headers)) length += headerBytes(name, String(headers[name]));
  return length <= bytes * LARGEST_SHARE ? length : undefined;
}

/** Puts calls of one caller to one service into one message, which expires with the last of them. */
export function batchCalls(calls: readonly [Message, ...Message[]]): Message {
  let ms = 0;
  let body = "";
  for (const { json, properties } of calls) {
    const { correlationId, type, expiration, headers } = properties;
    const left = Number(expiration);
    if (left > ms) ms = left;
    body += body === "" ? "[" : ",";
    body += `{"id":${quoted(correlationId)},"path":${JSON.stringify(type)},"ms":${left}`;
    if (headers !== undefined) body += withQuery(headers);
    body += json === "" ? "}" : `,"body":${json}}`;
  }
  const { replyTo, appId, correlationId } = calls[0].properties;
  return {
    body: Buffer.from(`${body}]`),
    properties: {
      contentType: CALLS_TYPE,
      // The id distinguishes the batch from others if the broker returns it.
      ...(correlationId === undefined ? {} : { correlationId }),
      ...(replyTo === undefined ? {} : { replyTo }),
      ...(appId === undefined ? {} : { appId }),
      expiration: String(ms),
      mandatory: true,
    },
  };
}

function withQuery(headers: WireHeaders): string {
  const { [header.query]: query, [header.gather]: _, ...own } = headers;
  const asked = query === undefined ? "" : `,"query":${JSON.stringify(query)}`;
  return asked + withHeaders(own);
}

function withHeaders(own: WireHeaders): string {
  return Object.keys(own).length === 0 ? "" : `,"headers":${JSON.stringify(own)}`;
}

/**
 * Returns the calls of a batch, each as if it had come by itself; `undefined` if the message is no batch of calls.
 *
 * @throws `MALFORMED_MESSAGE`.
 */
export function callsIn(message: Message): readonly Message[] | undefined {
  const { contentType, replyTo, appId } = message.properties;
  if (contentType !== CALLS_TYPE) return undefined;
  // A forged address would make RabbitMQ close the connection of each instance that asks the sender to send its calls again.
  if (typeof replyTo === "string" && isDirectReplyTo(replyTo)) throw malformed("its reply_to is no queue");
  const unanswerable = replyTo === undefined ? undefined : whyNoReturn({ replyTo });
  if (unanswerable !== undefined) throw malformed(`it cannot be answered: ${unanswerable}`);
  const { body } = message;
  const entries = entriesIn(body);
  const whole = new BatchBody(body, entries.length);
  return entries.map((entry, at) => {
    const own = propertiesOf(entry, replyTo, appId);
    return new BatchEntry({ value: entry.body, whole, at }, own);
  });
}

function propertiesOf(
  { id, path, ms, query, headers }: RawEntry,
  replyTo: string | undefined,
  appId: string | undefined,
): Properties {
  const own: MutableProperties = { contentType: JSON_TYPE, correlationId: id };
  if (typeof path === "string") own.type = path;
  if (replyTo !== undefined) own.replyTo = replyTo;
  if (appId !== undefined) own.appId = appId;
  const left = typeof ms === "string" && DIGITS.test(ms) ? Number(ms) : ms;
  if (typeof left === "number" && Number.isInteger(left) && left >= 1)
    own.expiration = String(Math.min(left, LONGEST_MS));
  if (query === undefined && headers === undefined) return own;
  const table = headersOf(headers, typeof query === "string" ? { [header.query]: query } : undefined);
  if (table !== undefined) own.headers = table;
  return own;
}

const DIGITS = /^\d{1,10}$/;

// confluo's own ids, which are the most frequent, need no escapes.
function quoted(id: string | undefined): string {
  return id !== undefined && PLAIN_ID.test(id) ? `"${id}"` : JSON.stringify(id);
}

const PLAIN_ID = /^[\w.-]+$/;

/** Puts replies to one caller into one message. */
export function batchReplies(replies: readonly Message[]): Message {
  let body = "";
  for (const { json, properties } of replies) {
    const { correlationId, headers } = properties;
    body += `${body === "" ? "[" : ","}{"id":${quoted(correlationId)}`;
    if (headers !== undefined) body += withStatus(headers);
    body += json === "" ? "}" : `,"body":${json}}`;
  }
  return { body: Buffer.from(`${body}]`), properties: { contentType: REPLIES_TYPE } };
}

/** Makes the message that asks a caller to send calls again, each by itself, because the instance that had them is gone. */
export function bounced(ids: readonly string[]): Message {
  const body = JSON.stringify(ids.map((id) => ({ id, again: true })));
  return { body: Buffer.from(body), properties: { contentType: REPLIES_TYPE } };
}

function withStatus(headers: WireHeaders): string {
  const { [header.status]: status, [header.error]: error, [header.gather]: _, ...own } = headers;
  let text = status === undefined ? "" : `,"status":${Number(status)}`;
  if (error !== undefined) text += `,"error":${JSON.stringify(error)}`;
  return text + withHeaders(own);
}

/** An entry of a batch of replies: a reply, or the request to send a call again. */
export type ReplyEntry =
  | { readonly kind: "reply"; readonly reply: Message }
  | { readonly kind: "again"; readonly id: string };

/**
 * Returns the replies of a batch, each as if it had come by itself; `undefined` if the message is no batch of replies.
 *
 * @throws `MALFORMED_MESSAGE`.
 */
export function repliesIn(message: Message): readonly ReplyEntry[] | undefined {
  if (message.properties.contentType !== REPLIES_TYPE) return undefined;
  const { body } = message;
  const entries = entriesIn(body);
  const whole = new BatchBody(body, entries.length);
  return entries.map((entry, at): ReplyEntry => {
    const part = { value: entry.body, whole, at };
    const { id, again, status, error, headers } = entry;
    if (again === true) return { kind: "again", id };
    const own: Properties = { contentType: JSON_TYPE, correlationId: id };
    if (status === undefined && error === undefined && headers === undefined)
      return { kind: "reply", reply: new BatchEntry(part, own) };
    const table = headersOf(headers, {
      ...(typeof status === "number" || typeof status === "string" ? { [header.status]: status } : {}),
      ...(typeof error === "string" ? { [header.error]: error } : {}),
    });
    return {
      kind: "reply",
      reply: new BatchEntry(part, table === undefined ? own : { ...own, headers: table }),
    };
  });
}

/**
 * Returns the events of a message, each as if it had come by itself. The properties of the message apply to all of them.
 *
 * @throws `MALFORMED_MESSAGE`.
 */
export function eventsIn({ body, properties }: Message): readonly Message[] {
  const entries = entriesIn(body);
  if (entries.length > MOST_EVENTS) throw malformed(`it holds more than ${MOST_EVENTS} events`);
  const whole = new BatchBody(body, entries.length);
  const { contentEncoding: _, headers: given = {}, ...shared } = properties;
  // Of a message that was published again, these headers say what each of its events is.
  const told = Object.entries(given).filter(([name]) => name.startsWith("confluo-") && name !== header.query);
  const common = Object.fromEntries(told);
  return entries.map((entry, at) => {
    const { id, query, headers } = entry;
    const own = userHeaders(headers as WireHeaders | undefined);
    const asked = typeof query === "string" ? { [header.query]: query } : {};
    const part = { value: entry.body, whole, at };
    const table = { ...common, ...own, ...asked };
    return new BatchEntry(part, { ...shared, contentType: JSON_TYPE, messageId: id, headers: table });
  });
}

// The text names the queue that the number applies to. A plain number is ignored. It comes from releases whose batches went to
// the queue for calls, and it applies only to the instance that wrote it, while other instances may consume that queue.
const TAKES = /(?:^|;)calls\.batch=([1-9]\d{0,3})(?:;|$)/;

/**
 * Returns how many calls a message to the service's queue for batches may contain, as a reply says; `undefined` if it does not
 * say so.
 */
export function batchLimitOf({ properties }: Message): number | undefined {
  const text = protocolHeader(properties.headers, header.gather);
  const takes = text === undefined ? undefined : TAKES.exec(text)?.[1];
  return takes === undefined ? undefined : Number(takes);
}

/** Adds a header to a reply that says how many calls a message to the queue for batches may contain. */
export function withBatchLimit(message: Message, takes: number): Message {
  if (!hasRoomToAsk(message)) return message;
  return withBatchHeader(message, `calls.batch=${takes}`);
}

/**
 * Adds a header to a call by which its sender accepts replies in batches and asks how many calls the service accepts in one
 * message. Its value is the call's own `reply_to`, so that the header has no effect if somebody passes it on, to another
 * service or back.
 */
export function askForBatchLimit(message: Message): Message {
  const { replyTo } = message.properties;
  return replyTo === undefined || !hasRoomToAsk(message) ? message : withBatchHeader(message, replyTo);
}

// If the headers nearly fill a frame, one more must not make the message too large. The next message may have room.
function hasRoomToAsk({ properties: { headers } }: Message): boolean {
  return headers === undefined || tableBytes(headers) <= ASKING_HEADER_BYTES;
}

const ASKING_HEADER_BYTES = 1_024;

function withBatchHeader(message: Message, value: string): Message {
  const { body, json, length, properties } = message;
  const headers = { ...properties.headers, [header.gather]: value };
  return { body, json, length, properties: { ...properties, headers } };
}

/** A message from a batch. Its body is encoded only if the message is published by itself. */
class BatchEntry implements Message {
  readonly properties: Properties;
  readonly parsed: { readonly value: unknown };
  readonly length: number;
  readonly #part: BatchPart;
  #body: Uint8Array | undefined;

  constructor(part: BatchPart, properties: Properties) {
    this.#part = part;
    this.parsed = part;
    this.length = part.whole.share;
    this.properties = properties;
  }

  get body(): Uint8Array {
    const { whole, at } = this.#part;
    this.#body ??= whole.bodyAt(at);
    return this.#body;
  }
}

/** The position of an entry's body. */
interface BatchPart {
  readonly value: unknown;
  readonly whole: BatchBody;
  readonly at: number;
}

/** A batch from which the body of an entry can be read as it came. */
class BatchBody {
  /** The average size of its entries, in bytes. */
  readonly share: number;
  readonly #bytes: Uint8Array;
  #entries: readonly RawEntry[] | undefined;

  constructor(bytes: Uint8Array, count: number) {
    this.#bytes = bytes;
    this.share = Math.ceil(bytes.length / count);
  }

  bodyAt(at: number): Uint8Array {
    // Parsed again, once, because handlers have the value that was parsed first and may have changed it.
    this.#entries ??= entriesIn(this.#bytes);
    const value = this.#entries[at]?.body;
    try {
      return Buffer.from(value === undefined ? "" : JSON.stringify(value));
    } catch {
      // JSON that was parsed may be nested too deeply to be written. The receiver of this text answers that it is no JSON.
      return Buffer.from("It was nested too deeply to be written again.");
    }
  }
}

interface RawEntry {
  readonly id: string;
  readonly [name: string]: unknown;
}

function entriesIn(body: Uint8Array): readonly RawEntry[] {
  const entries = parseJson(body);
  if (Array.isArray(entries) && entries.length > MOST_ENTRIES)
    throw malformed(`it holds more than ${MOST_ENTRIES} entries`);
  if (!Array.isArray(entries) || entries.length === 0 || !entries.every(isEntry))
    throw malformed("its body is no list of entries that each have an id");
  return entries;
}

function isEntry(entry: unknown): entry is RawEntry {
  return typeof entry === "object" && entry !== null && typeof (entry as RawEntry).id === "string";
}

// Returns `undefined` if there are no headers. In a message of a foreign sender, `own` may be any value.
function headersOf(own: unknown, ours: WireHeaders | undefined): WireHeaders | undefined {
  const table =
    typeof own === "object" && own !== null && !Array.isArray(own) ? (own as WireHeaders) : undefined;
  if (table === undefined) return ours === undefined || Object.keys(ours).length === 0 ? undefined : ours;
  return { ...table, ...ours };
}
