/** The options of a service and of its routes and subscriptions, with their defaults. */

import type { BrokerAddress } from "../broker/broker.ts";
import { checkBrokerAddress } from "../broker/default-broker.ts";
import { invalidArgument, LONGEST_RETRY_MS } from "../errors.ts";
import type { Logger } from "../logging/logger.ts";
import { checkMs, checkOptions, checkSignal, type OptionNames } from "../options/checks.ts";
import type { RouteOptions, SubscribeOptions } from "../options/verb-options.ts";
import { type BackoffOptions, defaultRetry, type RetryOptions, type RetryPolicy } from "../retry/policy.ts";

/** Options of a {@link Service}. */
export interface ServiceOptions {
  /** The broker to connect to. Default: the argument of `connect`, else `CONFLUO_BROKER`, else the embedded broker. */
  readonly broker?: BrokerAddress | undefined;
  /** The default timeout of every operation that waits, in milliseconds. Default: 20,000. */
  readonly timeoutMs?: number | undefined;
  /** The number of messages that this instance handles at a time. */
  readonly concurrency?:
    | {
        /** Calls whose handlers work. A handler that waits for the answer to a call of its own is not counted. Default: 128. */
        readonly calls?: number | undefined;
        /** One-way commands and events. Default: 128. */
        readonly inbox?: number | undefined;
        /**
         * Calls whose handlers wait for answers to calls of their own, besides those that work. At this limit, further calls
         * are answered with `OVERLOADED`. Default: 8,192.
         */
        readonly waiting?: number | undefined;
      }
    | undefined;
  /**
   * How many calls and answers travel in one message. Calls that are made to one service in one turn of the event loop go out
   * together, and so do answers to one caller; no timer delays them. Each keeps its own deadline, status and place. The
   * broker's work grows with the number of messages, so batches make many calls cheap.
   */
  readonly batching?: BatchingOptions | undefined;
  /**
   * The side that validates what this service calls, sends and publishes. `"both"`: this service validates it by the contract,
   * too, so that a mistake is found before the message is sent. `"receiver"`: only the receiver does, and bodies are sent as
   * given, with fields that the contract does not declare. The input and output of handlers are validated in either case.
   * Default: `"both"`.
   */
  readonly validate?: "both" | "receiver" | undefined;
  /** When one-way commands and events that failed are tried again; a route or subscription may have its own policy. */
  readonly retry?: RetryOptions | undefined;
  /**
   * How long an event or one-way command that has no handler in this instance is delivered again and again, in milliseconds,
   * until an instance has a handler; then it becomes a dead letter. During a rolling deploy, old instances receive messages
   * that only new ones handle. 0: it becomes a dead letter at once. Default: 600,000 (10 minutes).
   */
  readonly unhandledRetryMs?: number | undefined;
  /** The version of the program, such as `"1.4.2"`, which discovery reports. Default: none. */
  readonly version?: string | undefined;
  /**
   * Enables discovery: this instance answers {@link Broker.discover}, {@link Broker.stats} and `confluo ls`. It reports what it
   * handles, how often, how fast, and the last error with its message, but nothing else of the content of messages.
   * Default: `true`.
   */
  readonly discovery?: boolean | undefined;
  /** A pino logger, or any object of the same shape. Default: information, warnings and errors on standard error. */
  readonly logger?: Logger | undefined;
}

/** How many calls and answers travel in one message. */
export interface BatchingOptions {
  /** The most calls in one message, from 1 to 256. With 1, calls and answers travel one by one. Default: 16. */
  readonly maxCalls?: number | undefined;
  /**
   * The approximate limit on the bodies and headers in one message, in bytes, from 1,024 to 65,536. A call or an answer over
   * an eighth of this limit travels by itself. Default: 65,536.
   */
  readonly maxBytes?: number | undefined;
}

/** Options of `shutdown`. */
export interface ShutdownOptions {
  /** How long to wait for running handlers, in milliseconds; then their signals fire. Default: 7,000. */
  readonly timeoutMs?: number | undefined;
  /** A signal that ends this wait when it fires; the shutdown continues. */
  readonly signal?: AbortSignal | undefined;
}

const serviceOptions: OptionNames<ServiceOptions> = {
  broker: true,
  timeoutMs: true,
  concurrency: true,
  batching: true,
  validate: true,
  retry: true,
  unhandledRetryMs: true,
  version: true,
  discovery: true,
  logger: true,
};
const concurrencyOptions: OptionNames<NonNullable<ServiceOptions["concurrency"]>> = {
  calls: true,
  inbox: true,
  waiting: true,
};
const batchingOptions: OptionNames<BatchingOptions> = { maxCalls: true, maxBytes: true };
const routeOptions: OptionNames<RouteOptions> = { timeoutMs: true, signal: true, retry: true };
const subscribeOptions: OptionNames<SubscribeOptions> = {
  timeoutMs: true,
  signal: true,
  retry: true,
  per: true,
};

const TIMEOUT_MS = 20_000;
/** How long a shutdown waits for running handlers. The rest takes 2 s at most, and Docker kills a container after 10 s. */
export const DRAIN_MS = 7_000;
const HANDLER_MS = 600_000;
const UNHANDLED_RETRY_MS = 600_000;
const CONCURRENCY = 128;
// The limit of quorum queues.
const MOST_CONCURRENCY = 2_000;
const WAITING = 8_192;
// The most calls that a service may wait for.
const MOST_WAITING = 65_536;

/** The options of a service after the checks, with their defaults filled in. */
export interface ServiceSettings {
  readonly broker: BrokerAddress | undefined;
  readonly timeoutMs: number;
  readonly prefetch: { readonly calls: number; readonly inbox: number };
  /** The number of handlers of calls that may wait for answers. */
  readonly mostWaiting: number;
  readonly batching: { readonly [Name in keyof BatchingOptions]-?: number };
  readonly validates: boolean;
  readonly retry: RetryPolicy;
  readonly unhandledRetryMs: number;
  readonly version: string | undefined;
  readonly discovery: boolean;
  readonly logger: Logger | undefined;
}

/**
 * Checks the options of a service and fills in the defaults.
 *
 * @throws `INVALID_ARGUMENT`.
 */
export function serviceSettings(given: ServiceOptions | undefined): ServiceSettings {
  const options = checkOptions("Service", given, serviceOptions);
  const {
    broker,
    timeoutMs = TIMEOUT_MS,
    validate = "both",
    unhandledRetryMs = UNHANDLED_RETRY_MS,
  } = options;
  const { version, discovery = true, logger } = options;
  const {
    calls,
    inbox,
    waiting = WAITING,
  } = checkOptions("concurrency", options.concurrency, concurrencyOptions);
  if (!Number.isInteger(waiting) || waiting < 1 || waiting > MOST_WAITING)
    throw invalidArgument("concurrency.waiting", `a whole number from 1 to ${MOST_WAITING}`, waiting);
  if (validate !== "both" && validate !== "receiver")
    throw invalidArgument("validate", '"both" or "receiver"', validate);
  if (version !== undefined && typeof version !== "string")
    throw invalidArgument("version", "a string", version);
  if (typeof discovery !== "boolean") throw invalidArgument("discovery", "true or false", discovery);
  return {
    broker: checkBrokerAddress(broker),
    timeoutMs: checkMs("timeoutMs", timeoutMs),
    prefetch: { calls: checkConcurrency("calls", calls), inbox: checkConcurrency("inbox", inbox) },
    mostWaiting: waiting,
    batching: batchingOf(options.batching),
    validates: validate === "both",
    retry: retryPolicy(options.retry, defaultRetry),
    unhandledRetryMs: unhandledRetryMs === 0 ? 0 : checkMs("unhandledRetryMs", unhandledRetryMs),
    version,
    discovery,
    logger,
  };
}

function checkConcurrency(lane: string, limit: number = CONCURRENCY): number {
  if (Number.isInteger(limit) && limit >= 1 && limit <= MOST_CONCURRENCY) return limit;
  throw invalidArgument(`concurrency.${lane}`, `a whole number from 1 to ${MOST_CONCURRENCY}`, limit);
}

const MOST_BATCHED = 256;
const FEWEST_BYTES = 1_024;
const MOST_BYTES = 65_536;

function batchingOf(given: BatchingOptions | undefined): ServiceSettings["batching"] {
  const { maxCalls = 16, maxBytes = 65_536 } = checkOptions("batching", given, batchingOptions);
  if (!Number.isInteger(maxCalls) || maxCalls < 1 || maxCalls > MOST_BATCHED)
    throw invalidArgument("batching.maxCalls", `a whole number from 1 to ${MOST_BATCHED}`, maxCalls);
  if (!Number.isInteger(maxBytes) || maxBytes < FEWEST_BYTES || maxBytes > MOST_BYTES)
    throw invalidArgument(
      "batching.maxBytes",
      `a whole number from ${FEWEST_BYTES} to ${MOST_BYTES}`,
      maxBytes,
    );
  return { maxCalls, maxBytes };
}

const retryOptions: OptionNames<RetryOptions> = { attempts: true, backoff: true };
const backoffOptions: OptionNames<BackoffOptions> = { firstMs: true, maxMs: true, factor: true };
const MOST_ATTEMPTS = 1_000;

// Fills in the options that were left out from `otherwise`.
function retryPolicy(given: RetryOptions | undefined, otherwise: RetryPolicy): RetryPolicy {
  const { attempts = otherwise.attempts, backoff } = checkOptions("retry", given, retryOptions);
  if (!Number.isInteger(attempts) || attempts < 1 || attempts > MOST_ATTEMPTS)
    throw invalidArgument("retry.attempts", `a whole number from 1 to ${MOST_ATTEMPTS}`, attempts);
  const merged = { ...otherwise.backoff, ...checkOptions("retry.backoff", backoff, backoffOptions) };
  for (const name of ["firstMs", "maxMs"] as const) {
    const ms = merged[name];
    if (typeof ms !== "number" || !(ms >= 1) || ms > LONGEST_RETRY_MS)
      throw invalidArgument(`retry.backoff.${name}`, "a number of milliseconds from 1 to 30 days", ms);
  }
  const { factor } = merged;
  if (typeof factor !== "number" || !(factor >= 1) || factor > 100)
    throw invalidArgument("retry.backoff.factor", "a number from 1 to 100", factor);
  return { attempts, backoff: merged };
}

/** The checked options of a route or subscription. */
export interface Registration {
  readonly signal: AbortSignal | undefined;
  readonly timeoutMs: number;
  readonly retry: RetryPolicy;
}

/**
 * Checks the handler and the options of a route.
 *
 * @throws `INVALID_ARGUMENT`.
 */
export function routeSettings(
  handler: unknown,
  given: RouteOptions | undefined,
  service: ServiceSettings,
): Registration {
  return registration(handler, checkOptions("route", given, routeOptions), service);
}

/**
 * Checks the handler and the options of a subscription.
 *
 * @throws `INVALID_ARGUMENT`.
 */
export function subscribeSettings(
  handler: unknown,
  given: SubscribeOptions | undefined,
  service: ServiceSettings,
): Registration & { readonly per: "service" | "instance" } {
  const options = checkOptions("subscribe", given, subscribeOptions);
  const { per = "service" } = options;
  if (per !== "service" && per !== "instance") throw invalidArgument("per", '"service" or "instance"', per);
  return { ...registration(handler, options, service), per };
}

function registration(
  handler: unknown,
  { signal, timeoutMs = HANDLER_MS, retry }: RouteOptions,
  service: ServiceSettings,
): Registration {
  if (typeof handler !== "function") throw invalidArgument("A handler", "a function", handler);
  return {
    signal: checkSignal(signal),
    timeoutMs: checkMs("timeoutMs", timeoutMs),
    retry: retryPolicy(retry, service.retry),
  };
}
