/** The arguments of queues and exchanges that the embedded broker applies, and the comparison of all of them. */

import { ConfluoError, invalidArgument, show } from "../../errors.ts";
import type { QueueArguments, QueueSpec } from "../amqp-client.ts";

/** The parsed arguments of a queue. An argument that is absent has no effect: no limit, no expiry, no dead-lettering. */
export interface QueueSettings {
  readonly type: "classic" | "quorum";
  readonly messageTtlMs: number;
  readonly unusedExpiryMs: number;
  readonly deadLetterExchange: string | undefined;
  readonly deadLetterKey: string | undefined;
  /** True for at-least-once dead-lettering: a dead letter without a target waits for one. */
  readonly keepsDeadLetters: boolean;
  readonly maxLength: number;
  readonly overflow: "drop-head" | "reject-publish";
  /** How many times a message may return to the queue before it becomes a dead letter. */
  readonly deliveryLimit: number;
}

/**
 * Parses the arguments of a queue.
 *
 * @throws `INVALID_ARGUMENT` for a value that RabbitMQ would refuse, or that the embedded broker does not support.
 */
export function readQueueSettings({ name, exclusive, arguments: args }: QueueSpec): QueueSettings {
  const type = readChoice(name, args, "x-queue-type", ["classic", "quorum"]) ?? "classic";
  if (exclusive && type === "quorum")
    throw invalidArgument("x-queue-type of an exclusive queue", "classic", type);
  const overflow = readChoice(name, args, "x-overflow", ["drop-head", "reject-publish"]) ?? "drop-head";
  const strategy = readChoice(name, args, "x-dead-letter-strategy", ["at-most-once", "at-least-once"]);
  const deadLetterExchange = readString(name, args, "x-dead-letter-exchange");
  const deadLetterKey = readString(name, args, "x-dead-letter-routing-key");
  if (deadLetterKey !== undefined && deadLetterExchange === undefined) {
    throw invalidArgument(
      `x-dead-letter-exchange of queue ${show(name)}`,
      "set with x-dead-letter-routing-key",
      undefined,
    );
  }
  const deliveryLimit = readWhole(name, args, "x-delivery-limit", Number.NEGATIVE_INFINITY);
  return {
    type,
    messageTtlMs: readWhole(name, args, "x-message-ttl", 0),
    unusedExpiryMs: readWhole(name, args, "x-expires", 1),
    deadLetterExchange,
    deadLetterKey,
    // Without both of these, RabbitMQ uses at-most-once dead-lettering, without any notice.
    keepsDeadLetters: type === "quorum" && strategy === "at-least-once" && overflow === "reject-publish",
    maxLength: readWhole(name, args, "x-max-length", 0),
    overflow,
    deliveryLimit: type === "quorum" && deliveryLimit >= 0 ? deliveryLimit : Number.POSITIVE_INFINITY,
  };
}

/** Returns a whole number; infinity if the argument is absent. */
function readWhole(queue: string, args: QueueArguments, argument: string, least: number): number {
  const value = args[argument];
  if (value === undefined) return Number.POSITIVE_INFINITY;
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < least) {
    throw invalidArgument(`${argument} of queue ${show(queue)}`, "a whole number RabbitMQ accepts", value);
  }
  return value;
}

function readString(queue: string, args: QueueArguments, argument: string): string | undefined {
  const value = args[argument];
  if (value === undefined || typeof value === "string") return value;
  throw invalidArgument(`${argument} of queue ${show(queue)}`, "a string", value);
}

function readChoice<Choice extends string>(
  queue: string,
  args: QueueArguments,
  argument: string,
  choices: readonly Choice[],
): Choice | undefined {
  const value = args[argument];
  const choice = choices.find((candidate) => candidate === value);
  if (value !== undefined && choice === undefined) {
    throw invalidArgument(`${argument} of queue ${show(queue)}`, `one of ${choices.join(", ")}`, value);
  }
  return choice;
}

/** A queue or exchange as it exists. */
export interface Declared {
  readonly entity: "queue" | "exchange";
  readonly name: string;
  /** Its arguments, and everything else that must be equal, such as an exchange's type. */
  readonly properties: QueueArguments;
}

/**
 * Compares a declare with the queue or exchange that exists.
 *
 * @throws `TOPOLOGY_CONFLICT` that names the queue or exchange, the argument and both values.
 */
export function assertEquivalent(existing: Declared, wanted: QueueArguments): void {
  const { entity, name, properties } = existing;
  for (const argument of new Set([...Object.keys(properties), ...Object.keys(wanted)])) {
    const [has, asked] = [argumentOf(properties, argument), argumentOf(wanted, argument)];
    if (has === asked) continue;
    throw new ConfluoError(
      "TOPOLOGY_CONFLICT",
      `The ${entity} ${show(name)} exists with ${argument} ${shown(has)}, and this declare asks for ${shown(asked)}. ` +
        `Delete the ${entity}, or declare it with what it has.`,
      { data: { entity, name, argument, existing: has, declared: asked } },
    );
  }
}

function argumentOf(properties: QueueArguments, argument: string): string | number | boolean | undefined {
  return properties[argument] ?? (argument === "x-queue-type" ? "classic" : undefined);
}

function shown(value: string | number | boolean | undefined): string {
  return value === undefined ? "unset" : show(value);
}
