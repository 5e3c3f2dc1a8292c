/** Options of a service and of what is registered with it, and their defaults. */

import type { BrokerAddress } from "../broker/broker.ts";
import { checkBrokerAddress } from "../broker/default-broker.ts";
import { invalidArgument, LONGEST_RETRY_MS } from "../errors.ts";
import type { Logger } from "../logging/logger.ts";
import { checkMs, checkOptions, checkSignal, type OptionNames } from "../options/checks.ts";
import type { RouteOptions, SubscribeOptions } from "../options/verb-options.ts";
import { type BackoffOptions, defaultRetry, type RetryOptions, type RetryPolicy } from "../retry/policy.ts";

/** Options of a {@link Service}. */
export interface ServiceOptions {
  /** Default: what `connect` is given, else `CONFLUO_BROKER`, else the embedded broker. */
  readonly broker?: BrokerAddress | undefined;
  /** Default for everything that waits, in milliseconds. Default: 20,000. */
  readonly timeoutMs?: number | undefined;
  /** How many messages this instance handles at a time. */
  readonly concurrency?:
    | {
        /** Calls whose handlers work. One that waits for the answer to a call of its own is not counted here. Default: 128. */
        readonly calls?: number | undefined;
        /** One-way commands and events. Default: 128. */
        readonly inbox?: number | undefined;
        /**
         * Calls whose handlers wait for answers to calls of their own, besides those that work. When there are so many, calls
         * that come are answered with `OVERLOADED`. Default: 8,192.
         */
        readonly waiting?: number | undefined;
      }
    | undefined;
  /**
   * How much travels in one message. Calls that are made in one turn of the event loop to one service go out together, and
   * so do answers; nothing waits for it. Each keeps its own deadline, status and place. A broker pays by the message, so
   * this is what makes many calls cheap.
   */
  readonly batching?: BatchingOptions | undefined;
  /**
   * Says whether this service checks what it calls, sends and publishes against the contract before it goes out. `"both"`: a
   * mistake is found before it is sent. `"receiver"`: it leaves that to the receiving side, and sends bodies as given, with
   * fields that the contract does not declare. What a handler gets and
   * answers is checked in either case. Default: `"both"`.
   */
  readonly validate?: "both" | "receiver" | undefined;
  /** When one-way commands and events that failed are tried again, unless their route or subscription says otherwise. */
  readonly retry?: RetryOptions | undefined;
  /**
   * How long an event or one-way command that has no handler in this instance goes round, in milliseconds, for an
   * instance that has one; then it goes to the dead letters. In a rolling deploy, old instances get what only new ones
   * handle. 0: at once. Default: 600,000 (10 minutes).
   */
  readonly unhandledRetryMs?: number | undefined;
  /** The program's own version, told to whoever asks by discovery, such as `"1.4.2"`. Default: none. */
  readonly version?: string | undefined;
  /**
   * Says whether this instance answers who asks by {@link Broker.discover} and {@link Broker.stats}, and `confluo ls`: what it
   * handles, how often, how fast, the last error; nothing of what messages contain. Default: `true`.
   */
  readonly discovery?: boolean | undefined;
  /** A pino logger or anything of its shape. Default: info, warnings and errors on standard error. */
  readonly logger?: Logger | undefined;
}

/** How much travels in one message. */
export interface BatchingOptions {
  /** Calls, at most, from 1 to 256. 1: each by itself, and so the answers. Default: 16. */
  readonly maxCalls?: number | undefined;
  /**
   * Bytes of their bodies and headers together, at most, about, from 1,024 to 65,536. What takes over an eighth of it travels
   * by itself. Default: 65,536.
   */
  readonly maxBytes?: number | undefined;
}

/** Options of `shutdown`. */
export interface ShutdownOptions {
  /** The longest wait for handlers that run, in milliseconds; then they are told by their signal. Default: 7,000. */
  readonly timeoutMs?: number | undefined;
  /** Ends that wait when it fires; the shutdown goes on. */
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
/** How long a shutdown waits for what runs: with what follows, 2 s at most, less than the 10 s after which Docker kills. */
export const DRAIN_MS = 7_000;
const HANDLER_MS = 600_000;
const UNHANDLED_RETRY_MS = 600_000;
const CONCURRENCY = 128;
// Quorum queues take no more.
const MOST_CONCURRENCY = 2_000;
const WAITING = 8_192;
// As many calls as a service may wait for.
const MOST_WAITING = 65_536;

/** Options of a service, checked, with their defaults. */
export interface ServiceSettings {
  readonly broker: BrokerAddress | undefined;
  readonly timeoutMs: number;
  readonly prefetch: { readonly calls: number; readonly inbox: number };
  /** Handlers of calls that may wait for answers. */
  readonly mostWaiting: number;
  readonly batching: { readonly [Name in keyof BatchingOptions]-?: number };
  readonly validates: boolean;
  readonly retry: RetryPolicy;
  readonly unhandledRetryMs: number;
  readonly version: string | undefined;
  readonly discovery: boolean;
  readonly logger: Logger | undefined;
}

/** @throws `INVALID_ARGUMENT`. */
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

// An option that was left out is as in `otherwise`.
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

/** A registration together with its options, checked. */
export interface Registration {
  readonly signal: AbortSignal | undefined;
  readonly timeoutMs: number;
  readonly retry: RetryPolicy;
}

/** @throws `INVALID_ARGUMENT`. */
export function routeSettings(
  handler: unknown,
  given: RouteOptions | undefined,
  service: ServiceSettings,
): Registration {
  return registration(handler, checkOptions("route", given, routeOptions), service);
}

/** @throws `INVALID_ARGUMENT`. */
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
