/** The face: a service with its four verbs. */

import { type Broker, type BrokerAddress, resolveBroker } from "./broker.ts";
import { type AnyCommand, checkCommand } from "./contract/command.ts";
import { type AnyEvent, checkEvent } from "./contract/event.ts";
import { boundPath } from "./contract/path.ts";
import { onAbort } from "./core/abort.ts";
import type { Context, Middleware, Reply } from "./core/context.ts";
import { checkMs, checkSignal } from "./core/deadline.ts";
import { Dispatch } from "./core/dispatch.ts";
import { messageIds, newInstanceId } from "./core/identity.ts";
import { Lifecycle, type ServiceState } from "./core/lifecycle.ts";
import { consoleLogger, type Logger } from "./core/logger.ts";
import type { RouteOptions, SubscribeOptions, Waiting } from "./core/options.ts";
import { Registry } from "./core/registry.ts";
import { type CommandTarget, Requests } from "./core/requests.ts";
import type {
  Answered,
  Bound,
  CallArguments,
  CommandHandler,
  EventHandler,
  PublishArguments,
  SendArguments,
  Verbs,
} from "./core/verbs.ts";
import { ConfluoError, invalidArgument, isConfluoError } from "./errors.ts";
import { checkCommandPath, checkName, withSlash } from "./protocol/address.ts";

export type { ServiceState } from "./core/lifecycle.ts";

/** Options of a {@link Service}. */
export interface ServiceOptions {
  /** Default: what `connect` is given, else `CONFLUO_BROKER`, else the embedded broker. */
  readonly broker?: BrokerAddress;
  /** Default for everything that waits, in milliseconds. Default: 20,000. */
  readonly timeoutMs?: number;
  /** How many messages this instance handles at a time. */
  readonly concurrency?: {
    /** Calls. Default: 128. */
    readonly calls?: number;
    /** One-way commands and events. Default: 128. */
    readonly inbox?: number;
  };
  /**
   * Whether this service checks what it calls, sends and publishes against the contract before it goes out. `"both"`: a
   * mistake is found before it is sent. `"receiver"`: it leaves that to the receiving side. What a handler gets and
   * answers is checked in either case. Default: `"both"`.
   */
  readonly validate?: "both" | "receiver";
  /** A pino logger or anything of its shape. Default: info, warnings and errors on standard error. */
  readonly logger?: Logger;
}

/** Options of `shutdown`. */
export interface ShutdownOptions extends Waiting {
  /** The longest wait for handlers that run, in milliseconds; then they are told by their signal. Default: 8,000. */
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 20_000;
const DRAIN_MS = 8_000;
const HANDLER_MS = 600_000;
const CONCURRENCY = 128;
// Quorum queues take no more.
const MOST_CONCURRENCY = 2_000;

/**
 * A component that handles commands and events and calls others. Instances of one name share the work; a service that
 * only calls is a client and makes no queue of its own.
 *
 * @example
 * const orders = new Service("orders");
 * orders.route("/orders/:id", ({ params }) => find(params.id));
 * await orders.connect();
 * @throws `INVALID_ARGUMENT` for a name or option that is not valid.
 */
export class Service implements Verbs {
  readonly name: string;
  /** Identity of this instance, new for every `new Service`. */
  readonly instance: string = newInstanceId();
  readonly #options: ServiceOptions;
  readonly #timeoutMs: number;
  readonly #logger: Logger;
  readonly #registry = new Registry();
  readonly #lifecycle: Lifecycle;
  #broker: Broker | undefined;
  #dispatch: Dispatch | undefined;
  #requests: Requests | undefined;

  constructor(name: string, options: ServiceOptions = {}) {
    this.name = checkName(name, "service");
    this.#options = checkOptions(options);
    this.#timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
    this.#logger = options.logger ?? consoleLogger;
    this.#lifecycle = new Lifecycle({
      service: name,
      instance: this.instance,
      prefetch: {
        calls: options.concurrency?.calls ?? CONCURRENCY,
        inbox: options.concurrency?.inbox ?? CONCURRENCY,
      },
      registry: this.#registry,
      logger: this.#logger,
      dispatch: () => this.#dispatching(),
      requests: () => this.#requesting(),
    });
  }

  /** Where the service stands. */
  get state(): ServiceState {
    return this.#lifecycle.state;
  }

  // --- Handling ---

  route<T extends string | AnyCommand>(
    target: T,
    handler: CommandHandler<T>,
    options: RouteOptions = {},
  ): this {
    const { pattern, contract } = this.#ownCommand(target);
    const { signal, timeoutMs = HANDLER_MS } = checkRegistration(handler, options);
    if (signal?.aborted) return this;
    const entry = { handler: handler as unknown as (context: Context) => unknown, contract, timeoutMs };
    this.#registry.routes.add(pattern, entry);
    if (signal !== undefined) onAbort(signal, () => this.#registry.routes.remove(pattern));
    this.#lifecycle.serve();
    return this;
  }

  subscribe<T extends string | AnyEvent>(
    target: T,
    handler: EventHandler<T>,
    options: SubscribeOptions = {},
  ): this {
    const { pattern, contract } = eventTarget(target);
    const { signal, timeoutMs = HANDLER_MS } = checkRegistration(handler, options);
    const { per = "service" } = options;
    if (per !== "service" && per !== "instance") throw invalidArgument("per", '"service" or "instance"', per);
    if (pattern.includes("?"))
      throw invalidArgument("The pattern of a subscription", "free of ?, which begins a query", pattern);
    if (signal?.aborted) return this;
    const entry = { handler: handler as unknown as (context: Context) => unknown, contract, timeoutMs };
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
   * Runs a function around every handler of this service, the first registered outermost. It gets the context and
   * `next`, which runs what is further in, and returns the reply.
   *
   * @example service.use(async (context, next) => { const reply = await next(); count(context.path); return reply; });
   * @throws `INVALID_ARGUMENT` if it is no function.
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
    return this.#attempt(() => {
      const { command, body, options } = commandArguments(target, rest);
      return this.#requesting().call(command, body, options);
    }) as Promise<Reply<Answered<T>>>;
  }

  send<T extends string | AnyCommand>(target: T & Bound<T>, ...rest: SendArguments<T>): Promise<void> {
    return this.#attempt(() => {
      const { command, body, options } = commandArguments(target, rest);
      return this.#requesting().send(command, body, options);
    });
  }

  publish<T extends string | AnyEvent>(target: T & Bound<T>, ...rest: PublishArguments<T>): Promise<void> {
    return this.#attempt(() => {
      const [body, options] = rest as [unknown, object | undefined];
      const { pattern, contract } = eventTarget(target);
      if (contract !== undefined) boundPath(contract);
      return this.#requesting().publish({ target: pattern, schema: contract?.body }, body, options);
    });
  }

  // --- Life ---

  /**
   * Connects and resolves when everything that was registered is declared, bound and consumed. Called again, it waits
   * for what was registered since. A broker that does not answer is tried again until the deadline.
   *
   * @throws `BROKER_UNREACHABLE`, `ACCESS_REFUSED`, `TOPOLOGY_CONFLICT`, `NO_BROKER_ADDRESS`, `TIMEOUT`, `CANCELLED`,
   * `INVALID_ARGUMENT`.
   */
  async connect(broker?: BrokerAddress, options: Waiting = {}): Promise<this> {
    const ms = options.timeoutMs === undefined ? this.#timeoutMs : checkMs("timeoutMs", options.timeoutMs);
    const signal = checkSignal(options.signal);
    // A connect during a shutdown begins after it.
    if (this.#lifecycle.stopping !== undefined) await this.#lifecycle.stopping;
    const chosen = this.#choose(broker);
    await this.#lifecycle.connect(chosen.transport, { ms, signal });
    return this;
  }

  /**
   * Takes no more work, lets what runs finish and answers it, then leaves. What still runs after `timeoutMs` is told by
   * its signal and goes back to the queue. Twice is fine; `connect` works again afterwards.
   */
  async shutdown(options: ShutdownOptions = {}): Promise<void> {
    const ms = options.timeoutMs === undefined ? DRAIN_MS : checkMs("timeoutMs", options.timeoutMs);
    await this.#lifecycle.shutdown({ ms, signal: checkSignal(options.signal) });
  }

  /**
   * Connects, then stays until SIGINT or SIGTERM has shut the service down, or `shutdown` was called. Does not end the
   * process; a second signal does, as it would without confluo.
   */
  async run(broker?: BrokerAddress, options: ShutdownOptions = {}): Promise<void> {
    const drain =
      options.timeoutMs === undefined ? {} : { timeoutMs: checkMs("timeoutMs", options.timeoutMs) };
    const signals = ["SIGINT", "SIGTERM"] as const;
    let asked = false;
    const stop = (): void => {
      asked = true;
      for (const name of signals) process.removeListener(name, stop);
      this.shutdown(drain).catch((error: unknown) =>
        this.#logger.error({ error }, `${this.name} did not shut down.`),
      );
    };
    for (const name of signals) process.on(name, stop);
    // Nothing else holds a process whose broker is embedded.
    const hold = setInterval(() => undefined, 2_147_483_647);
    try {
      await this.connect(broker, options.signal === undefined ? {} : { signal: options.signal });
      options.signal?.addEventListener("abort", stop, { once: true });
      await this.#lifecycle.stopped();
    } catch (error) {
      // Told to stop before it was connected: that is what happened, no failure.
      if (!(asked && isConfluoError(error, "SHUTTING_DOWN"))) throw error;
    } finally {
      clearInterval(hold);
      options.signal?.removeEventListener("abort", stop);
      for (const name of signals) process.removeListener(name, stop);
    }
  }

  /** `await using service = …` shuts it down at the end of the block. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.shutdown();
  }

  // --- Inside ---

  // One broker until the service is idle again: a repeated connect() must not make another.
  #choose(address: BrokerAddress | undefined): Broker {
    const present = this.state === "idle" ? undefined : this.#broker;
    if (present !== undefined && (address === undefined || address === present)) return present;
    const chosen = resolveBroker(address ?? this.#options.broker, this.#logger);
    if (present === undefined) this.#broker = chosen;
    else if (typeof address === "string" && chosen.description === present.description) return present;
    return chosen;
  }

  #requesting(): Requests {
    this.#requests ??= new Requests({
      service: this.name,
      logger: this.#logger,
      timeoutMs: this.#timeoutMs,
      validates: (this.#options.validate ?? "both") === "both",
      maxBodyBytes: () => this.#broker?.maxBodyBytes ?? Number.POSITIVE_INFINITY,
      newId: messageIds(this.instance),
      link: () => this.#lifecycle.link(),
    });
    return this.#requests;
  }

  #dispatching(): Dispatch {
    this.#dispatch ??= new Dispatch({
      service: this.name,
      registry: this.#registry,
      logger: this.#logger,
      maxBodyBytes: () => this.#broker?.maxBodyBytes ?? Number.POSITIVE_INFINITY,
      callTimeoutMs: this.#timeoutMs,
      reply: (to, message) => this.#lifecycle.answering?.reply(to, message),
    });
    return this.#dispatch;
  }

  #ownCommand(target: string | AnyCommand): {
    readonly pattern: string;
    readonly contract: AnyCommand | undefined;
  } {
    if (typeof target === "string") return { pattern: routePattern(target), contract: undefined };
    checkCommand(target);
    if (target.service === this.name)
      return { pattern: routePattern(target.pattern ?? target.path), contract: target };
    throw new ConfluoError(
      "INVALID_ARGUMENT",
      `The command ${target.path} belongs to the service ${target.service}: ${this.name} cannot handle it.`,
    );
  }

  // What the caller did wrong rejects the promise, too: a verb never throws.
  async #attempt<Result>(work: () => Promise<Result>): Promise<Result> {
    return work();
  }
}

function routePattern(path: string): string {
  checkCommandPath(path);
  if (path.includes("?"))
    throw invalidArgument("The path of a route", "free of ?, which begins a query", path);
  return withSlash(path);
}

function eventTarget(target: string | AnyEvent): {
  readonly pattern: string;
  readonly contract: AnyEvent | undefined;
} {
  if (typeof target === "string") return { pattern: target, contract: undefined };
  checkEvent(target);
  return { pattern: target.path, contract: target };
}

function commandArguments(
  target: string | AnyCommand,
  rest: readonly unknown[],
): { readonly command: CommandTarget; readonly body: unknown; readonly options: object | undefined } {
  if (typeof target === "string") {
    const [path, body, options] = rest as [string, unknown, object | undefined];
    return { command: { service: target, target: path, contract: undefined }, body, options };
  }
  // Checked whole when it was made; here only that it is one at all.
  if (target?.kind !== "command") checkCommand(target);
  const [body, options] = rest as [unknown, object | undefined];
  return { command: { service: target.service, target: boundPath(target), contract: target }, body, options };
}

function checkRegistration<Options extends RouteOptions | SubscribeOptions>(
  handler: unknown,
  options: Options,
): Options {
  if (typeof handler !== "function") throw invalidArgument("A handler", "a function", handler);
  if (options.timeoutMs !== undefined) checkMs("timeoutMs", options.timeoutMs);
  checkSignal(options.signal);
  return options;
}

function checkOptions(options: ServiceOptions): ServiceOptions {
  const { timeoutMs, concurrency = {}, validate, logger } = options;
  if (timeoutMs !== undefined) checkMs("timeoutMs", timeoutMs);
  for (const lane of ["calls", "inbox"] as const) {
    const limit = concurrency[lane];
    if (limit === undefined) continue;
    if (!Number.isInteger(limit) || limit < 1 || limit > MOST_CONCURRENCY) {
      throw invalidArgument(`concurrency.${lane}`, `a whole number from 1 to ${MOST_CONCURRENCY}`, limit);
    }
  }
  if (validate !== undefined && validate !== "both" && validate !== "receiver") {
    throw invalidArgument("validate", '"both" or "receiver"', validate);
  }
  if (logger !== undefined && (typeof logger !== "object" || typeof logger.warn !== "function")) {
    throw invalidArgument(
      "logger",
      "an object with debug, info, warn and error, such as a pino logger",
      logger,
    );
  }
  return options;
}
