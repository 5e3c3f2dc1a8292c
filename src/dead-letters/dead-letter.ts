/** A message in a dead-letter queue or among the orphans, as an operator reads it and as it is sent back. */

import { createHash } from "node:crypto";
import { fitsShortString, pathOfKey } from "../protocol/address.ts";
import { decodeBody, header, protocolHeader, userHeaders } from "../protocol/codec.ts";
import { type Envelope, readEnvelope } from "../protocol/envelope.ts";
import type { Message, WireHeaders } from "../protocol/message.ts";
import { republished } from "../protocol/republish.ts";
import type { Namespace } from "../protocol/topology.ts";
import type { AmqpDelivery } from "../transport/amqp-client.ts";

/** Why a service gave a message up. */
export interface DeadLetterError {
  /** A code of confluo's or of a `ServiceError`; `HANDLER_FAILED` for anything else that was thrown. */
  readonly code: string;
  readonly name: string;
  readonly message: string;
  /**
   * With the stacks of its causes and of the errors of an `AggregateError`; empty if there was none. 6,000 characters at most:
   * of longer ones, each has its share.
   */
  readonly stack: string;
}

/**
 * One dead letter. What another program or the broker put there may lack anything: then texts are empty and the rest is
 * `undefined`.
 */
export interface DeadLetter {
  /**
   * Names the letter, the same in every listing: the message's id and, of an event that failed, its subscription. Without
   * an id of its own, what the message holds. Copies of one message share it, and are selected together.
   */
  readonly id: string;
  readonly messageId: string;
  /** The way in which it was sent. A dead call is one that nobody could be answered for. */
  readonly kind: "call" | "send" | "event";
  /** With a leading slash; empty if unknown, and then it cannot be replayed. */
  readonly path: string;
  /** Query string, without the `?`. */
  readonly query: string;
  /** The pattern of the subscription that failed; `undefined` for commands, and for events that came to none. */
  readonly subscription: string | undefined;
  /** The service that sent it. */
  readonly from: string;
  /** Number of the last try, from 1; 0 if there was none. */
  readonly attempts: number;
  /** `undefined` if it was not a service that gave up. */
  readonly error: DeadLetterError | undefined;
  /** Why the broker took it out of a queue: RabbitMQ's word, such as `"expired"`; `undefined` if a service gave up. */
  readonly reason: string | undefined;
  readonly firstFailedAt: Date | undefined;
  readonly failedAt: Date | undefined;
  /** The queue that it came from; of an orphan, the one it was meant for. */
  readonly queue: string;
  /** The instance that gave up. */
  readonly instance: string;
  /** The application's headers. */
  readonly headers: Readonly<Record<string, string>>;
  readonly contentType: string | undefined;
  /** How the body is packed, such as `"gzip"`: then {@link DeadLetteredMessage.body} is the bytes as they came. Absent if it is not. */
  readonly contentEncoding?: string;
  /** The value, read when it is asked for; as a `Uint8Array` if it is bytes or cannot be read. */
  readonly body: unknown;
}

/** A queue of letters. */
export interface DeadLetterQueue {
  readonly queue: string;
  readonly namespace: Namespace;
  /** Where all of its letters are sent back to; `undefined` for each letter's own key. */
  readonly target: string | undefined;
}

/** A letter and where it would be sent back to. */
export interface FoundLetter {
  readonly letter: DeadLetter;
  readonly target: string;
  /** True if somebody has looked at it before. */
  readonly redelivered: boolean;
  /** The message to send back; `undefined` if nobody could tell what it is. */
  readonly copy: (newId: () => string, most: number) => Message | undefined;
}

/** Reads a letter. Never throws, whatever is in it. */
export function readLetter({ message, key, redelivered }: AmqpDelivery, box: DeadLetterQueue): FoundLetter {
  const { headers, contentType, contentEncoding } = message.properties;
  const death = lastDeath(headers);
  // A message that went through a delay queue expired there on purpose: that is no story.
  const broker = death !== undefined && box.namespace.isDelay(death.queue) ? undefined : death;
  const eventKey = broker?.exchange === box.namespace.events ? broker.key : undefined;
  const envelope = readEnvelope(message, { lane: "inbox", eventKey, newId: () => "" });
  const told = (name: string): string => protocolHeader(headers, name) ?? "";
  const { subscription, from, query, messageId } = envelope;
  const isCall = eventKey === undefined && told(header.kind) === "call";
  const code = told(header.error);
  const target = box.target ?? key;
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
    queue: box.target === undefined ? key : told(header.queue) || (broker?.queue ?? ""),
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

// An orphan may have been on its way to the dead letters, where it still wants to say when and where it died.
function failureDetailsFor(target: string, death: Death | undefined): Readonly<Record<string, string>> {
  if (death === undefined || !target.endsWith(".dead")) return {};
  const at = death.at === undefined ? {} : { [header.failedAt]: death.at.toISOString() };
  return { [header.queue]: death.queue, ...at };
}

// As what it was and for whom it was, and as if it had never failed. A call that nobody waits for is a command.
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

/** RabbitMQ's word on the last queue that a message left by dying. */
interface Death {
  readonly reason: string;
  readonly queue: string;
  readonly exchange: string;
  readonly key: string | undefined;
  readonly at: Date | undefined;
}

// An array of tables, the last death first; of a foreign sender, anything.
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

// For letters without an id: the same in every listing, so nothing that a delivery changes.
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
