/** Encodes and decodes bodies, headers and queries. */

import { ConfluoError, describeThrown, invalidArgument, show } from "../errors.ts";
import { fitsShortString } from "./address.ts";
import { BYTES_TYPE, isPlainObject, JSON_TYPE } from "./encoding/encoded-body.ts";
import { tableBytes } from "./encoding/property-size.ts";
import type { Message, WireHeaders } from "./message.ts";

export { EncodedBody, EncodedMessage, encodeBody, JSON_TYPE } from "./encoding/encoded-body.ts";

/** The names of the protocol's headers. A header with its default value is left out of the message. */
export const header = {
  /** On a reply: its status. Default: 200. */
  status: "confluo-status",
  /** On a reply: the code of the error in its body. Absent if the body is no error. */
  error: "confluo-error",
  /** The query string of a command or event. Default: none. */
  query: "confluo-query",
  /**
   * On a call: its sender accepts replies in batches. On a reply: the service's queue for batches, and how many calls a message
   * to it may contain. Default: none.
   */
  gather: "confluo-gather",
  /** On a republished message: `send`, `event` or `call`; on an event that is still to be published: `publish`. */
  kind: "confluo-kind",
  /** On a republished message: the path of the command or event. */
  path: "confluo-path",
  /** On a republished event: the pattern of the one subscription that it is for. */
  subscription: "confluo-subscription",
  /** On a republished message: the name of the original sender. */
  from: "confluo-from",
  /** The number of the try, from 1. Default: 1. */
  attempt: "confluo-attempt",
  /** On a message that waits: how long it has to wait after this pass through the delay queues, in milliseconds. Default: 0. */
  wait: "confluo-wait",
  /** On a delayed message: when it is due, ISO 8601. Information only. */
  due: "confluo-due",
  /** How long a message has waited for an instance with a handler, in milliseconds. Default: 0. */
  unclaimed: "confluo-unclaimed",
  /** On a message that was replayed: the id of the replay. Default: none. */
  replay: "confluo-replay",
  /** Present on a message that an instance gave back without having finished it. */
  givenBack: "confluo-given-back",
  /** How many instances are known to have been lost while they handled the message alone. Default: 0. */
  deaths: "confluo-deaths",
  /** The time that was left of the message's `expiration` when it was published again, in milliseconds. Default: no limit. */
  expires: "confluo-expires",
  /** When the first try failed, ISO 8601. */
  firstFailedAt: "confluo-first-failed-at",
  /** When the last try failed, ISO 8601. */
  failedAt: "confluo-failed-at",
  /** The class name of the last error. */
  errorName: "confluo-error-name",
  /** The message of the last error. */
  errorMessage: "confluo-error-message",
  /** The stacks of the last error and of its causes. */
  errorStack: "confluo-error-stack",
  /** The queue that the message came from. */
  queue: "confluo-queue",
  /** The instance that gave up. */
  instance: "confluo-instance",
  /** On a dead letter that was put back as a copy after it had been browsed: an id of that browsing. */
  putBack: "confluo-put-back",
} as const;

/** The most that application headers may take, in bytes: AMQP clients cannot encode tables near 64 KiB. */
export const HEADER_BYTES: number = 32 * 1024;

/**
 * Decodes the body of a message.
 *
 * @throws `MALFORMED_MESSAGE` for an unknown content type or encoding, or if the body is not valid JSON in valid UTF-8.
 */
export function decodeBody(message: Message): unknown {
  if (message.parsed !== undefined) return message.parsed.value;
  const { contentType, contentEncoding } = message.properties;
  if (contentEncoding !== undefined && !isPlain(contentEncoding)) {
    throw malformed(`the content encoding ${show(contentEncoding)} is not supported: send the body as it is`);
  }
  if (contentType === BYTES_TYPE) return new Uint8Array(message.body);
  if (!isJson(contentType)) {
    throw malformed(
      `the content type ${show(contentType)} is not supported: use ${JSON_TYPE} or ${BYTES_TYPE}`,
    );
  }
  if (message.json !== undefined) return message.json === "" ? undefined : JSON.parse(message.json);
  const { body } = message;
  return isEmptyText(body) ? undefined : parseJson(body);
}

function isEmptyText({ length, 0: first, 1: second, 2: third }: Uint8Array): boolean {
  return length === 0 || (length === 3 && first === 0xef && second === 0xbb && third === 0xbf);
}

/** Returns the size of a message's body in bytes, without encoding it. */
export function bodyLength(message: Message): number {
  const { length, json } = message;
  return length ?? (json === undefined ? message.body.length : Buffer.byteLength(json));
}

/**
 * Parses JSON.
 *
 * @throws `MALFORMED_MESSAGE` if the body is not valid JSON in valid UTF-8.
 */
export function parseJson(body: Uint8Array): unknown {
  try {
    const json = text(body);
    // A byte order mark, which writers on .NET add, may be ignored (RFC 8259, section 8.1).
    return JSON.parse(json.charCodeAt(0) === BYTE_ORDER_MARK ? json.slice(1) : json);
  } catch (cause) {
    throw malformed(`its body is not JSON in UTF-8: ${describeThrown(cause).message}`, cause);
  }
}

/** Returns the text of a body that {@link decodeBody} cannot read, whatever its content type; `undefined` if it is no text. */
export function plainText({ body, properties }: Message): string | undefined {
  const { contentType, contentEncoding } = properties;
  if (contentEncoding !== undefined && !isPlain(contentEncoding)) return undefined;
  const isText = typeof contentType === "string" && /^text\//i.test(contentType);
  return utf8(body) ?? (isText ? new TextDecoder().decode(body) : undefined);
}

const BYTE_ORDER_MARK = 0xfeff;

const strictUtf8 = new TextDecoder("utf-8", { fatal: true });

function text(bytes: Uint8Array): string {
  const buffer = Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const decoded = buffer.toString("utf8");
  // The fast decoder replaces bytes that are not UTF-8. The strict one costs more, so it is used only if there are any.
  return decoded.includes("\uFFFD") ? strictUtf8.decode(bytes) : decoded;
}

/** Decodes UTF-8, without a byte order mark; returns `undefined` if the bytes are not UTF-8. */
export function utf8(bytes: Uint8Array): string | undefined {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    return undefined;
  }
}

/** Returns whether a content encoding means that the body is not encoded. */
export function isPlain(contentEncoding: unknown): boolean {
  return typeof contentEncoding === "string" && /^(|identity|utf-?8)$/i.test(contentEncoding);
}

// Foreign producers often leave out the content type; then the body is taken for JSON.
function isJson(contentType: unknown): boolean {
  if (contentType === JSON_TYPE || contentType === undefined || contentType === "") return true;
  if (typeof contentType !== "string") return false;
  const type = contentType.split(";", 1)[0]?.trim().toLowerCase() ?? "";
  return type === JSON_TYPE || (type.endsWith("+json") && !type.startsWith("application/vnd.confluo."));
}

/** Returns a `MALFORMED_MESSAGE` error with its reason. */
export function malformed(reason: string, cause?: unknown): ConfluoError<"MALFORMED_MESSAGE"> {
  return new ConfluoError("MALFORMED_MESSAGE", `The message cannot be read: ${reason}.`, { cause });
}

/**
 * Checks application headers that are to be sent, and copies them.
 *
 * @throws `INVALID_ARGUMENT` if a value is no string, a name is reserved or occurs twice, or the headers take more than 32 KiB.
 */
export function checkHeaders(headers: NamedValues<string>): Readonly<Record<string, string>> {
  const entries = entriesOf("The headers", headers);
  if (entries.length === 0) return noHeaders;
  const copy = Object.fromEntries(entries);
  if (Object.keys(copy).length < entries.length) {
    const twice = entries.find(([name], index) => entries.findIndex(([other]) => other === name) < index);
    throw invalidArgument("A header's name", "there once", twice?.[0]);
  }
  for (const [name, value] of entries) {
    if (name === "" || isReserved(name)) {
      throw invalidArgument(
        "A header's name",
        "none of CC, BCC, confluo-… (the protocol's) and x-… (RabbitMQ's); leave the x- of an HTTP header out",
        name,
      );
    }
    if (typeof value !== "string" || !value.isWellFormed())
      throw invalidArgument(`The header ${show(name)}`, "a string of well-formed Unicode", value);
    if (!fitsShortString(name))
      throw invalidArgument("A header's name", "well-formed Unicode of at most 255 bytes", name);
  }
  const bytes = tableBytes(copy);
  if (bytes > HEADER_BYTES) {
    throw new ConfluoError(
      "INVALID_ARGUMENT",
      `The headers take ${bytes} bytes and confluo allows ${HEADER_BYTES}: put what is large into the body.`,
    );
  }
  return copy;
}

/** Values by name: an object, or an iterable of pairs, such as a `Map`, `Headers` or `URLSearchParams`. */
export type NamedValues<Value> = Readonly<Record<string, Value>> | Iterable<readonly [string, Value]>;

function entriesOf<Value>(what: string, named: NamedValues<Value>): readonly (readonly [string, Value])[] {
  const expected = "an object, or pairs of names and values, such as a Map";
  if (typeof named !== "object" || named === null) throw invalidArgument(what, expected, named);
  if (!(Symbol.iterator in named)) {
    const entries = Object.entries(named);
    // An instance of a class with private fields would look empty, so it is refused.
    if (entries.length === 0 && !isPlainObject(named)) throw invalidArgument(what, expected, named);
    return entries;
  }
  const pairs: readonly unknown[] = [...named];
  for (const pair of pairs) {
    if (!Array.isArray(pair) || pair.length !== 2 || typeof pair[0] !== "string")
      throw invalidArgument(what, expected, named);
  }
  return pairs as readonly (readonly [string, Value])[];
}

// `CC` and `BCC` would send copies elsewhere, and `x-…` belongs to RabbitMQ.
function isReserved(name: string): boolean {
  return /^(?:cc|bcc|confluo-.*|x-.*)$/i.test(name);
}

/** The headers of a message that has none. */
export const noHeaders: Readonly<Record<string, string>> = Object.freeze({});

/** Returns the application headers of a received message: scalars as text; other values are left out. */
export function userHeaders(headers: WireHeaders | undefined): Readonly<Record<string, string>> {
  if (!isTable(headers)) return noHeaders;
  const kept: [string, string][] = [];
  for (const name of Object.keys(headers)) {
    if (isReserved(name)) continue;
    const value = scalarText(headers[name]);
    if (value !== undefined) kept.push([name, value]);
  }
  return kept.length === 0 ? noHeaders : Object.fromEntries(kept);
}

/** Returns whether a value is a header table. In a message of a foreign sender, it may be any value. */
export function isTable(headers: unknown): headers is WireHeaders {
  return typeof headers === "object" && headers !== null;
}

/** Returns one of the protocol's headers as text; `undefined` if it is absent or no scalar. */
export function protocolHeader(headers: WireHeaders | undefined, name: string): string | undefined {
  // Only own properties count: a header named `__proto__` may have set the table's prototype.
  if (!isTable(headers) || !Object.hasOwn(headers, name)) return undefined;
  return textIn(headers[name]);
}

/**
 * Returns the text of a scalar value of a header table; `undefined` for tables, lists, bytes and null. Clients in other
 * languages write numbers and booleans where confluo writes strings.
 */
export function scalarText(value: unknown): string | undefined {
  switch (typeof value) {
    case "string":
      return value;
    case "number":
    case "boolean":
    case "bigint":
      return String(value);
    case "object":
      return typedText(value);
    default:
      return undefined;
  }
}

/**
 * Returns the same as {@link scalarText}, and also the text of bytes that are UTF-8, because some clients write strings as
 * bytes.
 */
export function textIn(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  return value instanceof Uint8Array ? utf8(value) : scalarText(value);
}

// amqplib represents types that JavaScript lacks as `{ "!": type, value }`.
function typedText(value: object | null): string | undefined {
  if (value === null || !Object.hasOwn(value, "!") || !Object.hasOwn(value, "value")) return undefined;
  const { "!": type, value: inner } = value as { readonly "!": unknown; readonly value: unknown };
  if (type === "decimal") return decimalText(inner);
  return type === "timestamp" ? timestampText(inner) : undefined;
}

function decimalText(inner: unknown): string | undefined {
  if (typeof inner !== "object" || inner === null) return undefined;
  const { digits, places } = inner as { readonly digits?: unknown; readonly places?: unknown };
  return typeof digits === "number" && typeof places === "number" ? String(digits / 10 ** places) : undefined;
}

// Returns a timestamp in ISO 8601, as confluo writes times.
function timestampText(seconds: unknown): string | undefined {
  const date = new Date(Number(seconds) * 1_000);
  return Number.isNaN(date.getTime()) ? undefined : date.toISOString();
}

const QUERY_BYTES = 8 * 1024;

/**
 * Returns the query string of a path and of the `query` option together.
 *
 * @throws `INVALID_ARGUMENT` if a value cannot be written as text, or the query takes more than 8 KiB.
 */
export function encodeQuery(inPath: string, query: NamedValues<unknown> | undefined): string {
  const encoded = query === undefined ? inPath : withParameters(inPath, query);
  if (Buffer.byteLength(encoded) <= QUERY_BYTES) return encoded;
  const bound = `at most ${QUERY_BYTES} bytes long; put what is large into the body`;
  throw invalidArgument("The query", bound, encoded);
}

function withParameters(inPath: string, query: NamedValues<unknown>): string {
  const parameters = new URLSearchParams(inPath);
  for (const [name, value] of entriesOf("The query", query)) {
    if (value === undefined) continue;
    for (const one of Array.isArray(value) ? value : [value]) {
      if (typeof one !== "string" && typeof one !== "number" && typeof one !== "boolean") {
        throw invalidArgument(
          `The query parameter ${show(name)}`,
          "a string, a number, a boolean or a list of them",
          one,
        );
      }
      parameters.append(name, String(one));
    }
  }
  return parameters.toString();
}

const emptyQuery: Readonly<Record<string, string | readonly string[]>> = Object.freeze({});

/** Returns the query parameters of a received message. A parameter that occurs more than once is a list. */
export function decodeQuery(query: string | undefined): Readonly<Record<string, string | readonly string[]>> {
  if (query === undefined || query === "") return emptyQuery;
  const found = new Map<string, string | string[]>();
  for (const [name, value] of new URLSearchParams(query)) {
    const known = found.get(name);
    if (known === undefined) found.set(name, value);
    else if (typeof known === "string") found.set(name, [known, value]);
    else known.push(value);
  }
  return Object.fromEntries(found);
}
