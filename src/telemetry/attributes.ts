/** Attributes of a message on spans and metrics, by OpenTelemetry's conventions for messaging, and `confluo.…` for the rest. */

import type { Attributes } from "@opentelemetry/api";
import type { HandledMessage, OutgoingMessage } from "../diagnostics.ts";
import { describeThrown } from "../errors.ts";

/** Attributes of few values each: for metrics, and for names of spans. */
export interface Kinds extends Attributes {
  readonly "messaging.system": "rabbitmq";
  readonly "messaging.operation.name": "call" | "send" | "publish" | "process";
  readonly "messaging.operation.type": "send" | "process";
  /** Left out for an event that was published without a contract: its path may hold anything. */
  readonly "messaging.destination.template"?: string;
}

/** Of a message that goes out. */
export function outgoingKinds({ kind, to, pattern }: OutgoingMessage): Kinds {
  const template = pattern === undefined ? to : destination(to, pattern);
  return {
    "messaging.system": "rabbitmq",
    "messaging.operation.name": kind === "event" ? "publish" : kind,
    "messaging.operation.type": "send",
    ...(template === undefined ? {} : { "messaging.destination.template": template }),
  };
}

/** Of a message that is handled. */
export function handledKinds({ kind, service, pattern }: HandledMessage): Kinds {
  return {
    "messaging.system": "rabbitmq",
    "messaging.operation.name": "process",
    "messaging.operation.type": "process",
    "messaging.destination.template": destination(kind === "event" ? undefined : service, pattern),
  };
}

/** Of one message, beside its kinds. */
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

/** Of one message, beside its kinds. */
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

/** The name of a span. */
export function nameOf(kinds: Kinds): string {
  const { "messaging.operation.name": operation, "messaging.destination.template": template } = kinds;
  return template === undefined ? operation : `${operation} ${template}`;
}

/** Returns whether a handler's own reply says that it failed: to a caller, from 500 on; nobody else is there to be told less. */
export function isFailedStatus({ status = 200, kind }: HandledMessage): boolean {
  return status >= (kind === "call" ? 500 : 400);
}

/** The code of an error of confluo's or of a service, else its class. */
export function errorType(error: unknown): string {
  const { ours, name } = describeThrown(error);
  return ours?.code ?? (name === "" ? "_OTHER" : name);
}

// A command is for one service, an event for whoever subscribed.
function destination(service: string | undefined, path: string): string {
  return service === undefined ? path : service + path;
}
