/** The class that users create: a service with its five verbs. */

import type { Context, Middleware } from "../api/context.ts";
import type {
  Answered,
  Bound,
  CallArguments,
  CommandHandler,
  EventHandler,
  PublishArguments,
  SendArguments,
  Verbs,
} from "../api/verbs.ts";
import { onAbort } from "../async/abort.ts";
import { withCallerStack } from "../async/timed-promise.ts";
import type { Broker, BrokerAddress } from "../broker/broker.ts";
import { isSameBroker, resolveBroker } from "../broker/default-broker.ts";
import { DEFAULT_NAMESPACE } from "../broker/environment.ts";
import type { AnyCommand } from "../contract/command.ts";
import type { AnyEvent } from "../contract/event.ts";
import { invalidArgument, isConfluoError } from "../errors.ts";
import { Dispatcher } from "../handling/dispatcher.ts";
import { newInstanceId } from "../identity.ts";
import { Lifecycle } from "../lifecycle/lifecycle.ts";
import type { Health, ServiceState, StateChange } from "../lifecycle/state.ts";
import { onStopSignal } from "../lifecycle/stop-signals.ts";
import { guardedLogger, type Logger } from "../logging/logger.ts";
import { checkOptions, checkSignal, readWaitOptions, type WaitOptions } from "../options/checks.ts";
import type { RouteOptions, SubscribeOptions } from "../options/verb-options.ts";
import { checkName } from "../protocol/address.ts";
import type { InstanceStats } from "../protocol/discovery/instance-answer.ts";
import type { Reply } from "../protocol/reply.ts";
import { Registry } from "../registry/registry.ts";
import { Caller } from "../sending/caller.ts";
import { MessagePreparer } from "../sending/prepare-message.ts";
import { Publisher } from "../sending/publisher.ts";
import { DelayRecorder } from "../statistics/delays.ts";
import { HandlerStatsRecorder } from "../statistics/handler-stats.ts";
import { UseRecorder } from "../statistics/uses.ts";
import { startTelemetry } from "../telemetry/start.ts";
import { SessionSlot } from "../transport/session-slot.ts";
import type { Batching } from "../transport/transport.ts";
import { handledCommand, handledEvent } from "./handled-targets.ts";
import { InstanceReport } from "./instance-report.ts";
import {
  DRAIN_MS,
  routeSettings,
  type ServiceOptions,
  type ServiceSettings,
  type ShutdownOptions,
  serviceSettings,
  subscribeSettings,
} from "./service-options.ts";

export type { Health, ServiceState, StateChange } from "../lifecycle/state.ts";
export type { BatchingOptions, ServiceOptions, ShutdownOptions } from "./service-options.ts";

/**
 * A component that handles commands and events and calls other services. The instances of one name share the work. A service
 * that only calls, sends and publishes is a client; it has no queue that outlives it.
 *
 * @example
 * const orders = new Service("orders");
 * orders.route("/orders/:id", ({ params }) => find(params.id));
 * await orders.connect();
 * @throws `INVALID_ARGUMENT` if the name or an option is not valid.
 */
export class Service implements Verbs {
  readonly name: string;
  /** The id of this instance, new for every `new Service`. */
  readonly instance: string = newInstanceId();
  readonly #settings: ServiceSettings;
  readonly #logger: Logger;
  readonly #registry = new Registry();
  readonly #lifecycle: Lifecycle;
  readonly #introspection: InstanceReport;
  readonly #sessions = new SessionSlot(() => this.#lifecycle.whenReady());
  readonly #caller: Caller;
  readonly #publisher: Publisher;
  #broker: Broker | undefined;

  constructor(name: string, options?: ServiceOptions) {
    this.name = checkName(name, "service");
    this.#settings = serviceSettings(options);
    const settings = this.#settings;
    const { prefetch, discovery, version } = settings;
    const { instance } = this;
    const logger = guardedLogger(settings.logger, { service: name, instance });
    this.#logger = logger;
    const sessions = this.#sessions;
    const dispatcher = new Dispatcher({
      service: name,
      instance,
      registry: this.#registry,
      logger,
      sessions,
      callTimeoutMs: settings.timeoutMs,
      unhandledRetryMs: settings.unhandledRetryMs,
      mostCalls: prefetch.calls,
      mostWaiting: settings.mostWaiting,
    });
    const sending = {
      service: name,
      instance,
      logger,
      sessions,
      timeoutMs: settings.timeoutMs,
      batching: settings.batching,
      preparer: new MessagePreparer({ logger, sessions, validates: settings.validates }),
      uses: new UseRecorder(),
      delays: new DelayRecorder(),
      hasInbox: () => this.#lifecycle.serves,
      dispatcher,
    };
    const caller = new Caller(sending);
    const publisher = new Publisher(sending);
    this.#caller = caller;
    this.#publisher = publisher;
    this.#lifecycle = new Lifecycle({
      service: name,
      instance,
      prefetch,
      batching: () => this.#batching,
      registry: this.#registry,
      logger,
      sessions,
      dispatcher,
      caller,
      publisher,
      onQuestion: discovery ? (question) => this.#introspection.answer(question) : undefined,
    });
    this.#introspection = new InstanceReport({
      service: name,
      instance,
      version,
      registry: this.#registry,
      health: () => this.health(),
      underWay: () => ({ calling: caller.inFlight.size, unconfirmed: publisher.inFlight.size }),
      reconnects: () => this.#lifecycle.states.losses,
      uses: () => sending.uses.read(),
      delays: sending.delays,
    });
  }

  /** The present state of the service. */
  get state(): ServiceState {
    return this.#lifecycle.states.current;
  }

  /**
   * Returns the present health of the service. A readiness probe checks `status === "healthy"`.
   *
   * @example if (orders.health().status !== "healthy") response.writeHead(503);
   */
  health(): Health {
    return this.#lifecycle.health;
  }

  /** Returns what this instance has counted since it was created. `broker.stats()` collects the same from all instances. */
  stats(): InstanceStats {
    return this.#introspection.stats();
  }

  /**
   * Calls the listener at each change of state, until the signal fires. The listener is called synchronously and must not
   * block. An error that it throws is logged.
   *
   * @example service.onState(({ from, to, reason }) => metrics.state(to));
   * @throws `INVALID_ARGUMENT` if the listener is not a function or the signal is not an `AbortSignal`.
   */
  onState(
    listener: (change: StateChange) => void,
    options?: { readonly signal?: AbortSignal | undefined },
  ): this {
    if (typeof listener !== "function") throw invalidArgument("A listener", "a function", listener);
    const signal = checkSignal(checkOptions("onState", options, { signal: true }).signal);
    if (signal?.aborted) return this;
    const stop = this.#lifecycle.states.listen(listener);
    if (signal !== undefined) onAbort(signal, stop);
    return this;
  }

  // --- Handling ---

  route<T extends string | AnyCommand>(target: T, handler: CommandHandler<T>, options?: RouteOptions): this {
    const { pattern, contract } = handledCommand(this.name, target);
    const { signal, timeoutMs, retry } = routeSettings(handler, options, this.#settings);
    if (signal?.aborted) return this;
    const entry = {
      pattern,
      handler: handler as unknown as (context: Context) => unknown,
      contract,
      timeoutMs,
      retry,
      tally: new HandlerStatsRecorder(),
    };
    this.#registry.routes.add(pattern, entry);
    if (signal !== undefined) onAbort(signal, () => this.#registry.routes.remove(pattern));
    this.#lifecycle.serve();
    return this;
  }

  subscribe<T extends string | AnyEvent>(
    target: T,
    handler: EventHandler<T>,
    options?: SubscribeOptions,
  ): this {
    const { pattern, contract } = handledEvent(target);
    const { signal, timeoutMs, retry, per } = subscribeSettings(handler, options, this.#settings);
    if (pattern.includes("?"))
      throw invalidArgument("The pattern of a subscription", "free of ?, which begins a query", pattern);
    if (signal?.aborted) return this;
    const entry = {
      pattern,
      handler: handler as unknown as (context: Context) => unknown,
      contract,
      timeoutMs,
      retry,
      tally: new HandlerStatsRecorder(),
    };
    const subscription = this.#registry.subscriptions.add(pattern, per, entry);
    if (signal !== undefined) {
      onAbort(signal, () => {
        this.#registry.subscriptions.remove(subscription);
        this.#lifecycle.unsubscribe(subscription.key, per);
      });
    }
    this.#lifecycle.subscribe(subscription.key, per);
    return this;
  }

  /**
   * Runs a function around every handler of this service; the first one registered is the outermost. The function gets the
   * context and `next`, which runs the rest of the middleware and the handler, and it returns the reply.
   *
   * @example service.use(async (context, next) => { const reply = await next(); count(context.path); return reply; });
   * @throws `INVALID_ARGUMENT` if the argument is not a function.
   */
  use(middleware: Middleware): this {
    if (typeof middleware !== "function") throw invalidArgument("A middleware", "a function", middleware);
    this.#registry.middleware.push(middleware);
    return this;
  }

  // --- Sending ---

  call<T extends string | AnyCommand>(
    target: T & Bound<T>,
    ...rest: CallArguments<T>
  ): Promise<Reply<Answered<T>>> {
    return this.#attempt(() => this.#caller.call(target, rest)) as Promise<Reply<Answered<T>>>;
  }

  send<T extends string | AnyCommand>(target: T & Bound<T>, ...rest: SendArguments<T>): Promise<void> {
    return this.#attempt(() => this.#publisher.send(target, rest));
  }

  publish<T extends string | AnyEvent>(target: T & Bound<T>, ...rest: PublishArguments<T>): Promise<void> {
    return this.#attempt(() => this.#publisher.publish(target, rest));
  }

  // --- Life ---

  /**
   * Connects, and resolves when everything that was registered is declared, bound and consumed. A further call waits for what
   * was registered since the last one. If the broker does not answer, the connection is tried again until the deadline.
   *
   * @throws `BROKER_UNREACHABLE`, `ACCESS_REFUSED`, `TOPOLOGY_CONFLICT`, `NO_BROKER_ADDRESS`, `TIMEOUT`, `CANCELLED`,
   * `INVALID_ARGUMENT`.
   */
  async connect(broker?: BrokerAddress, options?: WaitOptions): Promise<this> {
    const limits = readWaitOptions("connect", options, this.#settings.timeoutMs);
    return this.#attempt(async () => {
      const telemetry = startTelemetry(this.#logger.warn);
      if (telemetry !== undefined) await telemetry;
      await this.#lifecycle.connect(() => this.#choose(broker).transport, limits);
      return this;
    });
  }

  /**
   * Stops taking work, waits until the running handlers have ended and their calls are answered, then disconnects. Services of
   * this process that are shut down at the same time answer each other's calls until all have finished. After `timeoutMs`, the
   * signals of handlers that still run fire, and their messages go back to the queue. It may be called again: the shorter wait
   * counts. `connect` works again afterwards.
   *
   * @throws `INVALID_ARGUMENT` for an option that is not valid, and nothing else.
   */
  async shutdown(options?: ShutdownOptions): Promise<void> {
    await this.#lifecycle.shutdown(readWaitOptions("shutdown", options, DRAIN_MS));
  }

  /**
   * Connects, then waits until SIGINT, SIGTERM or its `signal` has shut the service down, or `shutdown` was called. It does not
   * end the process. A second SIGINT or SIGTERM does, as it would without confluo.
   *
   * @throws as `connect`.
   */
  async run(broker?: BrokerAddress, options?: ShutdownOptions): Promise<void> {
    const { ms: timeoutMs, signal } = readWaitOptions("run", options, DRAIN_MS);
    if (signal?.aborted) return; // stopped before it began
    let isAsked = false;
    const stop = (): void => {
      isAsked = true;
      this.shutdown({ timeoutMs }).catch((error: unknown) =>
        this.#logger.error({ err: error }, `${this.name} did not shut down.`),
      );
    };
    const stopListening = onStopSignal(stop);
    const stopWatching = signal === undefined ? undefined : onAbort(signal, stop);
    // Keeps the process running. With the embedded broker, nothing else does.
    const hold = setInterval(() => undefined, 2_147_483_647);
    try {
      await this.connect(broker);
      if (isAsked) stop(); // the first stop came before there was anything to shut down
      const { description: at = "", namespace } = this.#broker ?? {};
      const where = namespace === DEFAULT_NAMESPACE ? at : `${at}, namespace ${namespace}`;
      this.#logger.info(
        { broker: at, namespace },
        `${this.name} runs on ${where}; SIGINT or SIGTERM shuts it down.`,
      );
      await this.#lifecycle.stopped();
      this.#logger.info({}, `${this.name} has shut down.`);
    } catch (error) {
      // The service was shut down before it was connected. The user wanted that, so it is no failure.
      if (!isConfluoError(error, "SHUTTING_DOWN")) throw error;
    } finally {
      clearInterval(hold);
      stopWatching?.();
      stopListening();
    }
  }

  /** Shuts the service down at the end of the block of `await using service = …`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.shutdown();
  }

  // --- Inside ---

  /** @internal For `confluo run`: the broker that the service uses, else the one that it was created with. */
  get broker(): BrokerAddress | undefined {
    return this.#broker ?? this.#settings.broker;
  }

  // Returns the same broker until the service is shut down: another `connect()` must not create a second one.
  #choose(address: BrokerAddress | undefined): Broker {
    const present = this.state === "idle" || this.state === "stopped" ? undefined : this.#broker;
    if (present !== undefined && (address === undefined || isSameBroker(present, address))) return present;
    const chosen = resolveBroker(address ?? this.#settings.broker, this.#logger);
    if (present === undefined) {
      this.#broker = chosen;
      this.#sessions.maxBodyBytes = chosen.maxBodyBytes;
    }
    return chosen;
  }

  get #batching(): Batching {
    const { maxCalls, maxBytes } = this.#settings.batching;
    // Half of the limit, so that there is room for what is not a body.
    const most = Math.floor(this.#sessions.maxBodyBytes / 2);
    return {
      maxCalls,
      maxBytes: Math.min(maxBytes, most),
      isEager: this.#broker?.gathersEagerly === true,
    };
  }

  // A verb never throws: an invalid argument rejects the promise, too.
  #attempt<Result>(work: () => Promise<Result>): Promise<Result> {
    try {
      return work().catch(withCallerStack);
    } catch (error) {
      return Promise.reject(error).catch(withCallerStack);
    }
  }
}
