/** The arguments of queues and exchanges that the embedded broker acts on, and the comparison of all of them. */

import { ConfluoError, invalidArgument, show } from "../../errors.ts";
import type { QueueArguments, QueueSpec } from "../amqp-client.ts";

/** A queue's arguments, read once. What is absent has no effect: no limit, no expiry, no dead-lettering. */
export interface QueueSettings {
  readonly type: "classic" | "quorum";
  readonly messageTtlMs: number;
  readonly unusedExpiryMs: number;
  readonly deadLetterExchange: string | undefined;
  readonly deadLetterKey: string | undefined;
  /** At-least-once dead-lettering: a dead letter without a target waits for one. */
  readonly keepsDeadLetters: boolean;
  readonly maxLength: number;
  readonly overflow: "drop-head" | "reject-publish";
  /** Returns to the queue that a message survives. */
  readonly deliveryLimit: number;
}

/** @throws `INVALID_ARGUMENT` for a value that RabbitMQ would refuse or that is not modelled here. */
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
    // RabbitMQ falls back to at most once, silently, without both of these.
    keepsDeadLetters: type === "quorum" && strategy === "at-least-once" && overflow === "reject-publish",
    maxLength: readWhole(name, args, "x-max-length", 0),
    overflow,
    deliveryLimit: type === "quorum" && deliveryLimit >= 0 ? deliveryLimit : Number.POSITIVE_INFINITY,
  };
}

/** @returns infinity if the argument is absent. */
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

/** An entity as it exists or as a declare describes it. */
export interface Declared {
  readonly entity: "queue" | "exchange";
  readonly name: string;
  /** The arguments, and beside them what else must be equal, such as an exchange's type. */
  readonly properties: QueueArguments;
}

/** @throws `TOPOLOGY_CONFLICT` that names the entity, the argument and both values. */
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
