/**
 * Attributes of spans and metrics for a message, by OpenTelemetry's messaging conventions; the others begin with `confluo.`.
 */

import type { Attributes } from "@opentelemetry/api";
import type { HandledMessage, OutgoingMessage } from "../diagnostics.ts";
import { describeThrown } from "../errors.ts";

/** Attributes with few different values, for metrics and for names of spans. */
export interface Kinds extends Attributes {
  readonly "messaging.system": "rabbitmq";
  readonly "messaging.operation.name": "call" | "send" | "publish" | "process";
  readonly "messaging.operation.type": "send" | "process";
  /** Absent for an event that was published without a contract, because its path may have any value. */
  readonly "messaging.destination.template"?: string;
}

/** Returns the attributes with few values for an outgoing message. */
export function outgoingKinds({ kind, to, pattern }: OutgoingMessage): Kinds {
  const template = pattern === undefined ? to : destination(to, pattern);
  return {
    "messaging.system": "rabbitmq",
    "messaging.operation.name": kind === "event" ? "publish" : kind,
    "messaging.operation.type": "send",
    ...(template === undefined ? {} : { "messaging.destination.template": template }),
  };
}

/** Returns the attributes with few values for a message that is handled. */
export function handledKinds({ kind, service, pattern }: HandledMessage): Kinds {
  return {
    "messaging.system": "rabbitmq",
    "messaging.operation.name": "process",
    "messaging.operation.type": "process",
    "messaging.destination.template": destination(kind === "event" ? undefined : service, pattern),
  };
}

/** Returns the other attributes of an outgoing message. */
export function outgoingAttributes({
  kind,
  service,
  instance,
  to,
  path,
  messageId,
}: OutgoingMessage): Attributes {
  return {
    "messaging.destination.name": destination(to, path),
    "messaging.client.id": instance,
    "messaging.message.id": messageId,
    ...(kind === "call" ? { "messaging.message.conversation_id": messageId } : {}),
    "confluo.service": service,
  };
}

/** Returns the other attributes of a message that is handled. */
export function handledAttributes(message: HandledMessage): Attributes {
  const { kind, service, instance, path, messageId, from, attempt, redelivered } = message;
  return {
    "messaging.destination.name": destination(kind === "event" ? undefined : service, path),
    "messaging.client.id": instance,
    "messaging.message.id": messageId,
    ...(kind === "call" ? { "messaging.message.conversation_id": messageId } : {}),
    "confluo.service": service,
    ...(from === "" ? {} : { "confluo.from": from }),
    ...(attempt === 1 ? {} : { "confluo.attempt": attempt }),
    ...(redelivered ? { "confluo.redelivered": true } : {}),
  };
}

/** Returns the name of a span. */
export function nameOf(kinds: Kinds): string {
  const { "messaging.operation.name": operation, "messaging.destination.template": template } = kinds;
  return template === undefined ? operation : `${operation} ${template}`;
}

/**
 * Returns whether the status of a handler's reply counts as a failure: from 500 for a call; from 400 for other messages,
 * because no caller gets the reply.
 */
export function isFailedStatus({ status = 200, kind }: HandledMessage): boolean {
  return status >= (kind === "call" ? 500 : 400);
}

/** Returns the code of an error of confluo or of a service, else the error's name. */
export function errorType(error: unknown): string {
  const { ours, name } = describeThrown(error);
  return ours?.code ?? (name === "" ? "_OTHER" : name);
}

// A command is addressed to one service, an event to all subscribers.
function destination(service: string | undefined, path: string): string {
  return service === undefined ? path : service + path;
}
