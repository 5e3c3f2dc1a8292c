/** Reads a message in a dead-letter queue or among the orphans for an operator, and makes the message that a replay sends. */

import { createHash } from "node:crypto";
import { fitsShortString, pathOfKey } from "../protocol/address.ts";
import { decodeBody, header, protocolHeader, userHeaders } from "../protocol/codec.ts";
import { isDelay, returnQueueOf } from "../protocol/delays.ts";
import { type Envelope, readEnvelope, republished } from "../protocol/envelope.ts";
import type { Message, WireHeaders } from "../protocol/message.ts";
import type { Namespace } from "../protocol/topology.ts";
import type { AmqpDelivery } from "../transport/amqp-client.ts";

/** The reason why a service gave up a message. */
export interface DeadLetterError {
  /** A code of confluo or of a `ServiceError`; `HANDLER_FAILED` for any other error that the handler threw. */
  readonly code: string;
  readonly name: string;
  readonly message: string;
  /**
   * The stack, followed by those of its causes and of the errors of an `AggregateError`; empty if there was none. 6,000
   * characters at most; if the stacks are longer, each is shortened to its share.
   */
  readonly stack: string;
}

/**
 * One dead letter. A letter from another program or from the broker may lack any field: then texts are empty and the rest is
 * `undefined`.
 */
export interface DeadLetter {
  /**
   * Identifies the letter, with the same value in every listing: the message's id and, for an event that failed, its
   * subscription. For a message without an id, a digest of its contents. Copies of one message have the same id and are
   * selected together.
   */
  readonly id: string;
  readonly messageId: string;
  /** How the message was sent. A call becomes a dead letter if no caller could be answered. */
  readonly kind: "call" | "send" | "event";
  /** With a leading slash; empty if unknown. A letter without a path cannot be replayed. */
  readonly path: string;
  /** Query string, without the `?`. */
  readonly query: string;
  /** The pattern of the subscription that failed; `undefined` for commands, and for events that reached no subscription. */
  readonly subscription: string | undefined;
  /** The service that sent the message. */
  readonly from: string;
  /** Number of the last try, from 1; 0 if there was none. */
  readonly attempts: number;
  /** `undefined` if the broker or another program put the letter here, and not a service. */
  readonly error: DeadLetterError | undefined;
  /** Why the broker removed the message from a queue, in RabbitMQ's word, such as `"expired"`; else `undefined`. */
  readonly reason: string | undefined;
  readonly firstFailedAt: Date | undefined;
  readonly failedAt: Date | undefined;
  /** The queue that the message came from; for an orphan, the queue that it was meant for. */
  readonly queue: string;
  /** The instance that gave up the message. */
  readonly instance: string;
  /** The application's headers. */
  readonly headers: Readonly<Record<string, string>>;
  readonly contentType: string | undefined;
  /** Compression of the body, such as `"gzip"`; `body` is then the compressed bytes. Absent if the body is not compressed. */
  readonly contentEncoding?: string;
  /** The decoded body. It is decoded on first access; a `Uint8Array` if it is bytes or cannot be decoded. */
  readonly body: unknown;
}

/** A queue of letters. */
export interface DeadLetterQueue {
  readonly queue: string;
  readonly namespace: Namespace;
  /** The queue that all letters are sent back to; `undefined` if each letter's routing key names its queue. */
  readonly target: string | undefined;
}

/** A letter and the queue that it would be sent back to. */
export interface FoundLetter {
  readonly letter: DeadLetter;
  readonly target: string;
  /** True if the broker has delivered the letter before, for example because somebody listed it. */
  readonly redelivered: boolean;
  /** Makes the message to send back; `undefined` if its path or its queue is unknown. */
  readonly copy: (newId: () => string, most: number) => Message | undefined;
}

/** Reads a letter. Never throws, whatever the message contains. */
export function readLetter({ message, key, redelivered }: AmqpDelivery, box: DeadLetterQueue): FoundLetter {
  const { headers, contentType, contentEncoding } = message.properties;
  const death = lastDeath(headers);
  // A message that waited in a delay queue expired there on purpose. That is not the reason for the dead letter.
  const broker = death !== undefined && isDelay(box.namespace, death.queue) ? undefined : death;
  const eventKey = broker?.exchange === box.namespace.events ? broker.key : undefined;
  const envelope = readEnvelope(message, { lane: "inbox", eventKey, newId: () => "" });
  const told = (name: string): string => protocolHeader(headers, name) ?? "";
  const { subscription, from, query, messageId } = envelope;
  const isCall = eventKey === undefined && told(header.kind) === "call";
  const code = told(header.error);
  const target = box.target ?? returnQueueOf(key);
  let body: { readonly value: unknown } | undefined;
  const letter: DeadLetter = {
    id: `${messageId || digest(message)}${subscription === undefined ? "" : `@${subscription}`}`,
    messageId,
    kind: isCall ? "call" : envelope.kind,
    path: envelope.path,
    query,
    subscription,
    from,
    attempts: told(header.attempt) === "" ? 0 : envelope.attempt,
    error:
      code === ""
        ? undefined
        : {
            code,
            name: told(header.errorName),
            message: told(header.errorMessage),
            stack: told(header.errorStack),
          },
    reason: broker?.reason,
    firstFailedAt: dateOf(told(header.firstFailedAt)),
    failedAt: dateOf(told(header.failedAt)) ?? broker?.at,
    queue: box.target === undefined ? target : told(header.queue) || (broker?.queue ?? ""),
    instance: told(header.instance),
    headers: userHeaders(headers),
    contentType: typeof contentType === "string" ? contentType : undefined,
    ...(typeof contentEncoding === "string" ? { contentEncoding } : {}),
    get body() {
      body ??= { value: readBody(message) };
      return body.value;
    },
  };
  const copy = (newId: () => string, most: number): Message | undefined => {
    if (envelope.path === "" || target === "") return undefined;
    const again = { ...envelope, messageId: messageId || newId(), replay: newId() };
    return copyOf(message, again, failureDetailsFor(target, broker), most);
  };
  return { letter, target, redelivered, copy };
}

// An orphan may have been on its way to the dead letters. Its copy must still report the queue and time of its death.
function failureDetailsFor(target: string, death: Death | undefined): Readonly<Record<string, string>> {
  if (death === undefined || !target.endsWith(".dead")) return {};
  const at = death.at === undefined ? {} : { [header.failedAt]: death.at.toISOString() };
  return { [header.queue]: death.queue, ...at };
}

// The copy has the original kind and recipient, and no failures. A call becomes a one-way command: nobody awaits an answer.
function copyOf(
  message: Message,
  envelope: Envelope,
  added: Readonly<Record<string, string>>,
  most: number,
): Message {
  const { subscription } = envelope;
  return republished(
    message,
    { ...envelope, attempt: 1 },
    {
      ...(subscription === undefined ? {} : { [header.subscription]: subscription }),
      ...added,
    },
    most,
  );
}

function readBody(message: Message): unknown {
  try {
    return decodeBody(message);
  } catch {
    return new Uint8Array(message.body);
  }
}

/** RabbitMQ's record of the last queue that dead-lettered a message. */
interface Death {
  readonly reason: string;
  readonly queue: string;
  readonly exchange: string;
  readonly key: string | undefined;
  readonly at: Date | undefined;
}

// An array of tables with the last death first. A foreign sender may have written any other value.
function lastDeath(headers: WireHeaders | undefined): Death | undefined {
  const deaths = member(headers, "x-death");
  const last: unknown = Array.isArray(deaths) ? deaths[0] : undefined;
  const reason = member(last, "reason");
  if (typeof reason !== "string") return undefined;
  const keys = member(last, "routing-keys");
  const key: unknown = Array.isArray(keys) ? keys[0] : undefined;
  const time = member(last, "time");
  const seconds = typeof time === "number" ? time : member(time, "value");
  return {
    reason,
    queue: text(member(last, "queue")),
    exchange: text(member(last, "exchange")),
    key: typeof key === "string" && key !== "" && isPath(key) ? key : undefined,
    at: typeof seconds === "number" ? dateOf(seconds * 1_000) : undefined,
  };
}

function isPath(key: string): boolean {
  return fitsShortString(key) && pathOfKey(key) !== "/";
}

function member(value: unknown, name: string): unknown {
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return undefined;
  return (value as Readonly<Record<string, unknown>>)[name];
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function dateOf(time: string | number): Date | undefined {
  const date = new Date(time);
  return time === "" || Number.isNaN(date.getTime()) ? undefined : date;
}

const DIGEST_LENGTH = 16;

// Digest for letters without an id. It has to be the same in every listing, so it excludes everything that a delivery changes.
function digest({ body, properties: { type, headers } }: Message): string {
  const hash = createHash("sha256").update(body);
  for (const value of [type, member(headers, header.path), ...deathMarks(headers)]) {
    hash.update(`\n${typeof value === "string" || typeof value === "number" ? value : ""}`);
  }
  return `~${hash.digest("base64url").slice(0, DIGEST_LENGTH)}`;
}

function deathMarks(headers: WireHeaders | undefined): readonly unknown[] {
  const death = lastDeath(headers);
  return [death?.reason, death?.queue, death?.key, death?.at?.getTime()];
}
