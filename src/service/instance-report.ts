/**
 * The report of an instance about itself, which answers discovery. It contains no content of messages, except for what handlers
 * put into the messages of their errors.
 */

import { hostname } from "node:os";
import { jsonSchemaOf } from "../contract/json-schema.ts";
import type { AnySchema } from "../contract/schema.ts";
import { clip } from "../errors.ts";
import { CONFLUO_VERSION } from "../identity.ts";
import type { Health } from "../lifecycle/state.ts";
import {
  decodeQuestion,
  encodeAnswer,
  type InstanceHealth,
  type InstanceInfo,
  type InstanceName,
  type InstanceStats,
  type JsonSchema,
} from "../protocol/discovery/instance-answer.ts";
import type { Message } from "../protocol/message.ts";
import type { Registry } from "../registry/registry.ts";
import type { DelayRecorder } from "../statistics/delays.ts";
import type { Uses } from "../statistics/uses.ts";

const REASON_LENGTH = 200;

/** The parts that an {@link InstanceReport} works with. */
export interface InstanceReportDependencies extends InstanceName {
  /** The program's own version. */
  readonly version: string | undefined;
  readonly registry: Registry;
  readonly health: () => Health;
  /** The number of its calls that wait for an answer, and of its messages that wait for a confirm. */
  readonly underWay: () => { readonly calling: number; readonly unconfirmed: number };
  readonly reconnects: () => number;
  /** The messages that this instance has sent, by receiver; `undefined` if it has sent none. */
  readonly uses: () => Uses | undefined;
  /** The delayed messages that this instance has sent and that are not due yet. */
  readonly delays: Pick<DelayRecorder, "read">;
}

/** Answers the questions of discovery. */
export class InstanceReport {
  readonly #parts: InstanceReportDependencies;
  readonly #startedAt = new Date().toISOString();
  readonly #began = performance.now();

  constructor(parts: InstanceReportDependencies) {
    this.#parts = parts;
  }

  /**
   * Returns the answer to a question and the queue that it goes to, or `undefined` if the message is no valid question. Never
   * throws.
   */
  answer(message: Message): { readonly to: string; readonly message: Message } | undefined {
    const asked = decodeQuestion(message);
    if (asked === undefined) return undefined;
    const { question, id, replyTo } = asked;
    return { to: replyTo, message: encodeAnswer(id, question === "ping" ? this.#name : this[question]()) };
  }

  /** Returns the answer to the question `info`. */
  info(): InstanceInfo {
    const { version, registry } = this.#parts;
    const { calls, sends, publishes } = this.#uses;
    return {
      ...this.#name,
      ...(version === undefined ? {} : { version }),
      host: hostname(),
      pid: process.pid,
      startedAt: this.#startedAt,
      uptimeMs: this.#uptimeMs,
      confluo: CONFLUO_VERSION,
      node: process.versions.node,
      health: this.#health,
      routes: registry.routes.list().map(({ pattern, route: { contract } }) => ({
        path: pattern,
        ...schema("input", contract?.input),
        ...schema("output", contract?.output),
      })),
      subscriptions: registry.subscriptions.list().map(({ pattern, per, handler: { contract } }) => ({
        pattern,
        per,
        ...schema("body", contract?.body),
      })),
      calls: commands(calls),
      sends: commands(sends),
      publishes: publishes.flatMap(({ path }) => (path === undefined ? [] : [{ path }])),
    };
  }

  /** Returns the answer to the question `stats`. */
  stats(): InstanceStats {
    const { registry, underWay, reconnects, delays } = this.#parts;
    return {
      ...this.#name,
      uptimeMs: this.#uptimeMs,
      health: this.#health,
      routes: registry.routes.list().map(({ pattern, route }) => ({ path: pattern, ...route.tally.read() })),
      subscriptions: registry.subscriptions
        .list()
        .map(({ pattern, per, handler }) => ({ pattern, per, ...handler.tally.read() })),
      ...this.#uses,
      unmatched: registry.unmatched.read(),
      malformed: registry.malformed.read(),
      ...underWay(),
      unclaimed: registry.unclaimed.count,
      delayed: delays.read(),
      reconnects: reconnects(),
    };
  }

  get #name(): InstanceName {
    const { service, instance } = this.#parts;
    return { service, instance };
  }

  get #uses(): Uses {
    return this.#parts.uses() ?? { calls: [], sends: [], publishes: [] };
  }

  get #uptimeMs(): number {
    return Math.round(performance.now() - this.#began);
  }

  get #health(): InstanceHealth {
    const { status, state, detached, blocked, stalled, reason } = this.#parts.health();
    return {
      status,
      state,
      detached,
      ...(blocked === undefined ? {} : { blocked }),
      ...(stalled === undefined ? {} : { stalled }),
      ...(reason === undefined
        ? {}
        : { reason: { code: reason.code, message: clip(reason.message, REASON_LENGTH) } }),
    };
  }
}

function commands(counted: Uses["calls"]): InstanceInfo["calls"] {
  return counted.flatMap(({ count: _, service, ...path }) =>
    service === undefined ? [] : [{ service, ...path }],
  );
}

// The input side of a schema describes what travels, also for an answer: it is checked and sent as the handler returned it.
function schema(name: string, given: AnySchema | undefined): Record<string, JsonSchema> {
  const found = given === undefined ? undefined : jsonSchemaOf(given, "input");
  return found === undefined || !isJson(found) ? {} : { [name]: found };
}

// The validator's own converter made the JSON Schema. A circular one would make the whole answer fail.
function isJson(value: unknown): boolean {
  try {
    return JSON.stringify(value) !== undefined;
  } catch {
    return false;
  }
}
