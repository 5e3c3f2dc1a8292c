/** Replies: the answer or error of a handler, how it is encoded, and how the caller decodes it. */

import { clip, describeThrown, type WireError } from "../errors.ts";
import {
  checkHeaders,
  decodeBody,
  type EncodedBody,
  EncodedMessage,
  encodeBody,
  header,
  type NamedValues,
  noHeaders,
  plainText,
  protocolHeader,
  userHeaders,
  utf8,
} from "./codec.ts";
import type { Message, MessageHeaders, MutableProperties } from "./message.ts";

/** An answer, as the caller and the middleware see it. */
export interface Reply<Body = unknown> {
  /** An HTTP-like status below 400. A status of 400 or above rejects the call instead. */
  readonly status: number;
  readonly headers: MessageHeaders;
  readonly body: Body;
}

// At run time the mark is a symbol, which a value that was parsed from JSON cannot have.
const handlerReply: unique symbol = Symbol.for("confluo.reply") as never;

/** An answer with its own status or headers, made by `reply` of a handler's context. */
export interface HandlerReply<Body = unknown> extends Reply<Body> {
  /**
   * Exists only in the type, and distinguishes it from the result of `call`. The name is a string so that two copies of the
   * package share it.
   */
  readonly "confluo.reply": true;
}

/** Returns whether a handler's result was made by `reply` of its context. */
export function isHandlerReply(value: unknown): value is HandlerReply {
  return typeof value === "object" && value !== null && handlerReply in value;
}

/** Returns the reply for the result of a handler. */
export function replyOf(result: unknown): Reply {
  return isHandlerReply(result) ? result : { status: 200, headers: noHeaders, body: result };
}

/** Returns whether a value is a valid status of an answer: a whole number from 200 to 599. */
export function isReplyStatus(status: unknown): status is number {
  return typeof status === "number" && Number.isInteger(status) && status >= 200 && status <= 599;
}

/** Returns the result of `reply` of a handler's context. */
export function handlerReplyOf<Body>(
  status: number,
  headers: MessageHeaders,
  body: Body,
): HandlerReply<Body> {
  return { status, headers, body, [handlerReply]: true } as Reply<Body> as HandlerReply<Body>;
}

/** An answer before it is encoded. */
export interface ReplyContent {
  readonly status: number;
  readonly headers: NamedValues<string>;
  readonly body: unknown;
}

/**
 * Encodes an answer as a message. `encoded` is its body, if that was encoded before.
 *
 * @throws `INVALID_ARGUMENT` if JSON cannot represent the body, or if the headers are not allowed.
 */
export function encodeReply(
  correlationId: string | undefined,
  { status, headers, body }: ReplyContent,
  encoded: EncodedBody = encodeBody(body),
): EncodedMessage {
  const own = headers === noHeaders ? noHeaders : checkHeaders(headers);
  const properties: MutableProperties = { contentType: encoded.contentType };
  if (correlationId !== undefined) properties.correlationId = correlationId;
  if (status !== 200) properties.headers = { ...own, [header.status]: String(status) };
  else if (own !== noHeaders) properties.headers = own;
  return new EncodedMessage(encoded, properties);
}

const ERROR_BYTES = 1024 * 1024;
const MESSAGE_LENGTH = 2_000;
const CODE_LENGTH = 200;
const SHORT_MESSAGE_LENGTH = 40;

/**
 * Encodes an error as a reply of at most 1 MiB, or of `maxBytes` if that is less. If the error's data do not fit, or JSON
 * cannot represent them, they are left out, so that the reply is sent in any case. A long message is cut.
 */
export function encodeErrorReply(
  correlationId: string | undefined,
  status: number,
  error: WireError,
  maxBytes: number = ERROR_BYTES,
): Message {
  const code = clip(error.code, CODE_LENGTH);
  const message = clip(error.message, MESSAGE_LENGTH);
  const bytes = encodeError({ ...error, code, message }, Math.min(maxBytes, ERROR_BYTES));
  const headers = { [header.status]: String(status), [header.error]: code };
  return {
    body: bytes,
    properties: {
      contentType: "application/json",
      ...(correlationId === undefined ? {} : { correlationId }),
      headers,
    },
  };
}

const STATUS = /^[1-5]\d\d$/;

/** A received reply: an answer, or an error if its headers or its status say so. */
export type ReceivedReply =
  | {
      readonly kind: "answer";
      readonly status: number;
      readonly headers: Readonly<Record<string, string>>;
      readonly body: unknown;
    }
  | { readonly kind: "error"; readonly status: number; readonly error: Partial<WireError> };

/**
 * Decodes a reply. Its headers decide if it is an error, whatever its body is.
 *
 * @throws `MALFORMED_MESSAGE` if the body of an answer cannot be read.
 */
export function decodeReply(message: Message): ReceivedReply {
  const { headers } = message.properties;
  const code = protocolHeader(headers, header.error);
  const told = protocolHeader(headers, header.status);
  const isTold = told !== undefined && STATUS.test(told);
  const status = isTold ? Number(told) : code === undefined ? 200 : 500;
  if (code !== undefined) return { kind: "error", status, error: { ...carriedBy(message), code } };
  let body: unknown;
  try {
    body = decodeBody(message);
  } catch (error) {
    if (status < 400) throw error;
    const text = plainText(message);
    return { kind: "error", status, error: { code: "SERVICE_ERROR", ...saying(text), data: text } };
  }
  return { kind: "answer", status, headers: userHeaders(headers), body };
}

// Returns what the body says of an error. Programs in other languages, and proxies, often answer a failure with plain text.
function carriedBy(message: Message): Partial<WireError> {
  let body: unknown;
  try {
    body = decodeBody(message);
  } catch {
    return saying(plainText(message));
  }
  if (typeof body === "string") return saying(body);
  if (body instanceof Uint8Array) return saying(utf8(body));
  return typeof body === "object" && body !== null && !Array.isArray(body) ? body : {};
}

function saying(text: string | undefined): Partial<WireError> {
  const message = clip(text?.trim() ?? "", MESSAGE_LENGTH);
  return message === "" ? {} : { message };
}

function encodeError(error: WireError, maxBytes: number): Uint8Array {
  const { code, message } = error;
  let reason: string;
  try {
    const { bytes } = encodeBody(error);
    if (bytes.length <= maxBytes) return bytes;
    reason = `${bytes.length} bytes are too many`;
  } catch (cause) {
    reason = clip(describeThrown(cause).message, MESSAGE_LENGTH);
  }
  const smaller = [
    { code, message: `${message} (its data could not be sent: ${reason})` },
    { code, message },
    { message: clip(message, SHORT_MESSAGE_LENGTH) },
  ];
  for (const part of smaller) {
    const { bytes } = encodeBody(part);
    if (bytes.length <= maxBytes) return bytes;
  }
  return new Uint8Array(0); // a header contains the code
}
