/** Reports of instances, when they are asked: questions and answers on the bus. */

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
  type Durations,
  durationsOf,
  type EventUse,
  eventsOf,
  type RecentRuns,
  recentOf,
  type SenderStats,
  sendersOf,
} from "./traffic.ts";

/** `ping`: who is there. `info`: what it is and handles. `stats`: what it has done. */
export type Question = "ping" | "info" | "stats";

const questions: readonly string[] = ["ping", "info", "stats"] satisfies readonly Question[];

/** The identity of an instance. */
export const IDENTITY: RegExp = /^[\w-]{1,64}$/;

/** The routing key of a question to everyone in the namespace. */
export const EVERYONE = "*";

/** The routing key of a question to the instances of a service, or to one of them. */
export function addressee(service?: string, instance?: string): string {
  if (service === undefined) return EVERYONE;
  return instance === undefined ? service : `${service}.${instance}`;
}

/** The instance that answers. */
export interface InstanceName {
  readonly service: string;
  /** The instance's identity. */
  readonly instance: string;
}

/** How well an instance is, in its own view. */
export interface InstanceHealth {
  readonly status: "healthy" | "degraded" | "down";
  readonly state: string;
  /** Queues and bindings that it should have and has not at the moment. */
  readonly detached: readonly string[];
  /** Why the broker takes no messages, in its own words. */
  readonly blocked?: string;
  /** Delay queues that it uses and from which nothing comes back. */
  readonly stalled?: readonly string[];
  /** Which right is missing, or why it does not run. Its message is cut to 200 characters. */
  readonly reason?: { readonly code: string; readonly message: string };
}

/** A JSON Schema. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** A route, as its service describes it. */
export interface RouteInfo {
  readonly path: string;
  /** Present where the contract has a schema that can be had as JSON Schema. */
  readonly input?: JsonSchema;
  readonly output?: JsonSchema;
}

/** A subscription, as its service describes it. */
export interface SubscriptionInfo {
  readonly pattern: string;
  readonly per: "service" | "instance";
  readonly body?: JsonSchema;
}

/** The description of an instance. */
export interface InstanceInfo extends InstanceName {
  /** The program's own version, if it was given one. */
  readonly version?: string;
  readonly host: string;
  readonly pid: number;
  /** When it was made, in ISO 8601, on its own clock. */
  readonly startedAt: string;
  readonly uptimeMs: number;
  /** Versions of confluo and of Node.js. */
  readonly confluo: string;
  readonly node: string;
  readonly health: InstanceHealth;
  readonly routes: readonly RouteInfo[];
  readonly subscriptions: readonly SubscriptionInfo[];
  /** Commands that it has called, that it has sent one-way, and events that it has published: at most 500 of each. */
  readonly calls: readonly CommandUse[];
  readonly sends: readonly CommandUse[];
  readonly publishes: readonly EventUse[];
}

/** The last thing that went wrong. Its message is cut to 200 characters. */
export interface LastError {
  /** Of an error of confluo's or of a declared one; `HANDLER_FAILED` for any other. */
  readonly code: string;
  readonly message: string;
  /** In ISO 8601, on the instance's own clock. */
  readonly at: string;
}

/** Counts of what became of the messages of one route or subscription, since its instance was made. */
export interface HandlerStats {
  /** Runs that ended well. */
  readonly handled: number;
  /** Runs for calls whose answer blames the caller: with a status from 400 to 499, as for a body that breaks the contract. */
  readonly refused: number;
  /** Runs that threw anything else or took too long; of commands and events, all that did not end well. */
  readonly failed: number;
  /** Messages that are to be tried again. */
  readonly retried: number;
  /** Messages that were given up. */
  readonly deadLettered: number;
  /** Runs under way. */
  readonly inFlight: number;
  /** Messages that wait to be tried again: those that it made wait itself, and whose wait is not over by its own clock. */
  readonly waiting: number;
  /** Of all runs that ended. */
  readonly durations: Durations;
  /** Of the last seconds. */
  readonly recent: RecentRuns;
  /** The senders that the messages name: 32 at most, the others together in one without a name. */
  readonly senders: readonly SenderStats[];
  /** Of `failed`. */
  readonly lastError?: LastError;
  /** Of `refused`. */
  readonly lastRefusal?: LastError;
}

/** Counts of messages that came to an instance and for which no handler was run. */
export interface StrayStats {
  /** Each counts when it first comes, also a call, which is answered with an error; what goes round counts once. */
  readonly received: number;
  /** The messages that were given up and belong to no route and no subscription, which would count them. */
  readonly deadLettered: number;
}

/** Statistics of an instance. */
export interface InstanceStats extends InstanceName {
  readonly uptimeMs: number;
  readonly health: InstanceHealth;
  readonly routes: readonly (HandlerStats & { readonly path: string })[];
  readonly subscriptions: readonly (HandlerStats & {
    readonly pattern: string;
    readonly per: "service" | "instance";
  })[];
  /**
   * Commands that it has called, that it has sent one-way, and events that it has published: at most 500 of each, the others
   * together in an entry that names nothing.
   */
  readonly calls: readonly Counted<CommandUse>[];
  readonly sends: readonly Counted<CommandUse>[];
  readonly publishes: readonly Counted<EventUse>[];
  /** Messages without a route or subscription for them: a sender is ahead of this instance, or mistaken. */
  readonly unmatched: StrayStats;
  /** Messages that cannot be read. */
  readonly malformed: StrayStats;
  /** Calls of its own that wait for their answer. */
  readonly calling: number;
  /** The messages that it sent or published and that the broker has not confirmed yet. */
  readonly unconfirmed: number;
  /** Messages that it made go round since it has no handler for them, and whose wait is not over by its own clock. */
  readonly unclaimed: number;
  /** How often it has lost its connection. */
  readonly reconnects: number;
}

/** The answer to a {@link Question}. */
export interface Answers {
  readonly ping: InstanceName;
  readonly info: InstanceInfo;
  readonly stats: InstanceStats;
}

/** A question as it is published to `<ns>.discovery`. */
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

/** A question that can be answered; `undefined` for anything else, which is ignored: a later version may ask other things. */
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

export function encodeAnswer(id: string | undefined, answer: InstanceName): Message {
  const properties = { contentType: JSON_TYPE, appId: answer.service };
  return {
    body: new TextEncoder().encode(JSON.stringify(answer)),
    properties: id === undefined ? properties : { ...properties, correlationId: id },
  };
}

/**
 * An answer to a question, with what its program did not say as if there were none of it: it may be an earlier one, or no
 * confluo.
 *
 * @throws `MALFORMED_MESSAGE` for what does not say whose answer it is.
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
