/** The questions of discovery and the answers of instances. */

import { ConfluoError } from "../../errors.ts";
import { isDirectReplyTo, isServiceName, whyNoReturn } from "../address.ts";
import { JSON_TYPE, scalarText } from "../codec.ts";
import { type Given, listOf, numberOf, recordOf, textOf, textsOf } from "../encoding/given.ts";
import type { Message } from "../message.ts";
import {
  type CommandUse,
  type Counted,
  commandsOf,
  countedOf,
  type DelayCount,
  type Durations,
  delaysOf,
  durationsOf,
  type EventUse,
  eventsOf,
  type RecentRuns,
  recentOf,
  type SenderStats,
  sendersOf,
} from "./traffic.ts";

/** A question. `ping`: which instances are there. `info`: what an instance is and handles. `stats`: what it has done. */
export type Question = "ping" | "info" | "stats";

const questions: readonly string[] = ["ping", "info", "stats"] satisfies readonly Question[];

/** The form of an instance's id. */
export const IDENTITY: RegExp = /^[\w-]{1,64}$/;

/** The routing key of a question to all instances in the namespace. */
export const EVERYONE = "*";

/** Returns the routing key of a question to all instances, to those of a service, or to one instance. */
export function addressee(service?: string, instance?: string): string {
  if (service === undefined) return EVERYONE;
  return instance === undefined ? service : `${service}.${instance}`;
}

/** The instance that answers. */
export interface InstanceName {
  readonly service: string;
  /** The id of the instance. */
  readonly instance: string;
}

/** The health of an instance, as it reports it. */
export interface InstanceHealth {
  readonly status: "healthy" | "degraded" | "down";
  readonly state: string;
  /** The queues that it should consume and the bindings that it should have, but has not at the moment. */
  readonly detached: readonly string[];
  /** The broker's own reason for taking no messages. */
  readonly blocked?: string;
  /** The names of delay queues that it uses and from which nothing returns. */
  readonly stalled?: readonly string[];
  /** The missing right, or the reason why it does not run. The message is cut to 200 characters. */
  readonly reason?: { readonly code: string; readonly message: string };
}

/** A JSON Schema. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** A route, as its service describes it. */
export interface RouteInfo {
  readonly path: string;
  /** The schema of the input, if the contract has one that can be converted to JSON Schema. */
  readonly input?: JsonSchema;
  /** The schema of the answer, likewise. */
  readonly output?: JsonSchema;
}

/** A subscription, as its service describes it. */
export interface SubscriptionInfo {
  readonly pattern: string;
  readonly per: "service" | "instance";
  /** The schema of the event's body, if the contract has one that can be converted to JSON Schema. */
  readonly body?: JsonSchema;
}

/** The description of an instance. */
export interface InstanceInfo extends InstanceName {
  /** The program's own version, if it was set. */
  readonly version?: string;
  readonly host: string;
  readonly pid: number;
  /** When the instance was created, in ISO 8601, on its own clock. */
  readonly startedAt: string;
  readonly uptimeMs: number;
  /** The version of confluo. */
  readonly confluo: string;
  /** The version of Node.js. */
  readonly node: string;
  readonly health: InstanceHealth;
  readonly routes: readonly RouteInfo[];
  readonly subscriptions: readonly SubscriptionInfo[];
  /** The commands that it has called: at most 500. */
  readonly calls: readonly CommandUse[];
  /** The commands that it has sent one-way: at most 500. */
  readonly sends: readonly CommandUse[];
  /** The events that it has published: at most 500. */
  readonly publishes: readonly EventUse[];
}

/** The last failure. Its message is cut to 200 characters. */
export interface LastError {
  /** The code of an error of confluo's or of a declared error; `HANDLER_FAILED` for any other. */
  readonly code: string;
  readonly message: string;
  /** The time in ISO 8601, on the instance's own clock. */
  readonly at: string;
}

/** Counts for the messages of one route or subscription, since its instance was created. */
export interface HandlerStats {
  /** Runs that succeeded. */
  readonly handled: number;
  /** Runs of calls that were answered with a status from 400 to 499, as for a body that breaks the contract. */
  readonly refused: number;
  /** Runs that threw anything else or took too long; for one-way commands and events, all that did not succeed. */
  readonly failed: number;
  /** Messages that are to be tried again. */
  readonly retried: number;
  /** Messages that became dead letters. */
  readonly deadLettered: number;
  /** Runs in progress. */
  readonly inFlight: number;
  /** Messages that this instance put into a delay queue to be tried again, and whose wait is not over by its own clock. */
  readonly waiting: number;
  /** The durations of all runs that ended. */
  readonly durations: Durations;
  /** The runs of the last seconds. */
  readonly recent: RecentRuns;
  /** The senders that the messages name: 32 at most; all others together in one entry without a name. */
  readonly senders: readonly SenderStats[];
  /** The last failure of `failed`. */
  readonly lastError?: LastError;
  /** The last failure of `refused`. */
  readonly lastRefusal?: LastError;
}

/** Counts of messages for which the instance ran no handler. */
export interface StrayStats {
  /**
   * Messages when they first came, including calls, which are answered with an error. A message that comes again after a wait
   * counts once.
   */
  readonly received: number;
  /** Messages that became dead letters and belong to no route or subscription, which would count them. */
  readonly deadLettered: number;
}

/** The statistics of an instance. */
export interface InstanceStats extends InstanceName {
  readonly uptimeMs: number;
  readonly health: InstanceHealth;
  readonly routes: readonly (HandlerStats & { readonly path: string })[];
  readonly subscriptions: readonly (HandlerStats & {
    readonly pattern: string;
    readonly per: "service" | "instance";
  })[];
  /** The commands that it has called: at most 500, and all others together in one entry without a name. */
  readonly calls: readonly Counted<CommandUse>[];
  /** The commands that it has sent one-way, likewise. */
  readonly sends: readonly Counted<CommandUse>[];
  /** The events that it has published, likewise. */
  readonly publishes: readonly Counted<EventUse>[];
  /** Messages without a route or subscription: the sender is newer than this instance, or wrong. */
  readonly unmatched: StrayStats;
  /** Messages that cannot be read. */
  readonly malformed: StrayStats;
  /** Its own calls that wait for their answer. */
  readonly calling: number;
  /** The messages that it sent or published and that the broker has not confirmed yet. */
  readonly unconfirmed: number;
  /** Messages without a handler that this instance put into a delay queue, and whose wait is not over by its own clock. */
  readonly unclaimed: number;
  /** Delayed messages that it sent and that are not due by its own clock: for 500 services at most, and all others together. */
  readonly delayed: readonly DelayCount[];
  /** How many times it has lost its connection. */
  readonly reconnects: number;
}

/** The answer to each {@link Question}. */
export interface Answers {
  readonly ping: InstanceName;
  readonly info: InstanceInfo;
  readonly stats: InstanceStats;
}

/** Encodes a question, to be published to `<ns>.discovery`. `ms` is how long it may be answered, in milliseconds. */
export function encodeQuestion(
  question: Question,
  { id, replyTo, ms }: { readonly id: string; readonly replyTo: string; readonly ms: number },
): Message {
  return {
    body: new Uint8Array(0),
    properties: {
      type: question,
      correlationId: id,
      replyTo,
      expiration: String(Math.ceil(ms)),
      mandatory: true,
    },
  };
}

/**
 * Decodes a question that can be answered. Returns `undefined` for anything else, which is ignored: a later version may have
 * other questions.
 */
export function decodeQuestion({
  properties,
}: Message):
  | { readonly question: Question; readonly id: string | undefined; readonly replyTo: string }
  | undefined {
  const { type, correlationId, replyTo } = properties;
  if (typeof type !== "string" || !questions.includes(type)) return undefined;
  if (replyTo === undefined || whyNoReturn(properties) !== undefined || isDirectReplyTo(replyTo))
    return undefined;
  const id = typeof correlationId === "string" ? correlationId : undefined;
  return { question: type as Question, id, replyTo };
}

/** Encodes the answer to a question. `id` is the question's `correlation_id`, if it had one. */
export function encodeAnswer(id: string | undefined, answer: InstanceName): Message {
  const properties = { contentType: JSON_TYPE, appId: answer.service };
  return {
    body: new TextEncoder().encode(JSON.stringify(answer)),
    properties: id === undefined ? properties : { ...properties, correlationId: id },
  };
}

/**
 * Decodes an answer to a question. A field that is missing is read as empty, because the program may be an earlier version or
 * not use confluo.
 *
 * @throws `MALFORMED_MESSAGE` if the answer does not name its service and instance.
 */
export function decodeAnswer<Q extends Question>(question: Q, { body }: Message): Answers[Q] {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(body));
  } catch (cause) {
    throw new ConfluoError("MALFORMED_MESSAGE", "An answer to a question is not JSON.", { cause });
  }
  const given = recordOf(value);
  const { service, instance } = given;
  if (!isServiceName(service) || typeof instance !== "string" || !IDENTITY.test(instance))
    throw new ConfluoError("MALFORMED_MESSAGE", "An answer to a question names no service and instance.");
  const name = { service, instance };
  const readers = { ping: () => name, info: () => infoOf(name, given), stats: () => statsOf(name, given) };
  return readers[question]() as Answers[Q];
}

function infoOf(name: InstanceName, given: Given): InstanceInfo {
  const version = scalarText(given.version);
  return {
    ...name,
    ...(version === undefined ? {} : { version }),
    host: textOf(given.host),
    pid: numberOf(given.pid),
    startedAt: textOf(given.startedAt),
    uptimeMs: numberOf(given.uptimeMs),
    confluo: textOf(given.confluo),
    node: textOf(given.node),
    health: healthOf(given.health),
    routes: listOf(given.routes).map((route) => ({
      path: textOf(route.path),
      ...schemaOf(route, "input"),
      ...schemaOf(route, "output"),
    })),
    subscriptions: listOf(given.subscriptions).map((subscription) => ({
      ...patternOf(subscription),
      ...schemaOf(subscription, "body"),
    })),
    calls: commandsOf(given.calls),
    sends: commandsOf(given.sends),
    publishes: eventsOf(given.publishes),
  };
}

function statsOf(name: InstanceName, given: Given): InstanceStats {
  return {
    ...name,
    uptimeMs: numberOf(given.uptimeMs),
    health: healthOf(given.health),
    routes: listOf(given.routes).map((route) => ({ path: textOf(route.path), ...countsOf(route) })),
    subscriptions: listOf(given.subscriptions).map((subscription) => ({
      ...patternOf(subscription),
      ...countsOf(subscription),
    })),
    calls: countedOf(given.calls),
    sends: countedOf(given.sends),
    publishes: countedOf(given.publishes),
    unmatched: straysOf(given.unmatched),
    malformed: straysOf(given.malformed),
    calling: numberOf(given.calling),
    unconfirmed: numberOf(given.unconfirmed),
    unclaimed: numberOf(given.unclaimed),
    delayed: delaysOf(given.delayed),
    reconnects: numberOf(given.reconnects),
  };
}

function patternOf(given: Given): Pick<SubscriptionInfo, "pattern" | "per"> {
  return { pattern: textOf(given.pattern), per: given.per === "instance" ? "instance" : "service" };
}

function countsOf(given: Given): HandlerStats {
  return {
    handled: numberOf(given.handled),
    refused: numberOf(given.refused),
    failed: numberOf(given.failed),
    retried: numberOf(given.retried),
    deadLettered: numberOf(given.deadLettered),
    inFlight: numberOf(given.inFlight),
    waiting: numberOf(given.waiting),
    durations: durationsOf(given.durations),
    recent: recentOf(given.recent),
    senders: sendersOf(given.senders),
    ...lastOf(given, "lastError"),
    ...lastOf(given, "lastRefusal"),
  };
}

function straysOf(value: unknown): StrayStats {
  const { received, deadLettered } = recordOf(value);
  return { received: numberOf(received), deadLettered: numberOf(deadLettered) };
}

function lastOf<Name extends "lastError" | "lastRefusal">(
  given: Given,
  name: Name,
): { readonly [name in Name]?: LastError } {
  if (given[name] === undefined) return {};
  const { code, message, at } = recordOf(given[name]);
  const last = { code: textOf(code), message: textOf(message), at: textOf(at) };
  return { [name]: last } as { readonly [name in Name]?: LastError };
}

function healthOf(value: unknown): InstanceHealth {
  const { status, state, detached, blocked, stalled, reason } = recordOf(value);
  return {
    status: status === "degraded" || status === "down" ? status : "healthy",
    state: textOf(state),
    detached: textsOf(detached),
    ...(typeof blocked === "string" ? { blocked } : {}),
    ...(Array.isArray(stalled) ? { stalled: textsOf(stalled) } : {}),
    ...(reason === undefined ? {} : { reason: reasonOf(recordOf(reason)) }),
  };
}

function reasonOf({ code, message }: Given): { readonly code: string; readonly message: string } {
  return { code: textOf(code), message: textOf(message) };
}

function schemaOf(given: Given, name: "input" | "output" | "body"): Readonly<Record<string, JsonSchema>> {
  return given[name] === undefined ? {} : { [name]: recordOf(given[name]) };
}
