/** Where services meet: RabbitMQ, or the broker inside the process. The one file that knows both. */

import { runOutsideContext } from "../async/outside-context.ts";
import { type TimedPromiseControls, waitFor } from "../async/timed-promise.ts";
import { DeadLetters } from "../dead-letters/dead-letters.ts";
import { type AskParts, ask, type DiscoverOptions, type Ping } from "../discovery/ask.ts";
import { conflicts } from "../discovery/conflicts.ts";
import { type Overview, type OverviewOptions, overview } from "../discovery/overview.ts";
import { byService, type ServiceStats } from "../discovery/service-stats.ts";
import { type Watch, type WatchedEvent, watch } from "../discovery/watch.ts";
import { type ConfluoError, invalidArgument } from "../errors.ts";
import { messageIds, newInstanceId } from "../identity.ts";
import { guardedLogger } from "../logging/logger.ts";
import { checkOptions, readWaitOptions, type WaitOptions } from "../options/checks.ts";
import { checkName, fitsShortString, SHORT_STRING_BYTES } from "../protocol/address.ts";
import type { InstanceInfo } from "../protocol/discovery/instance-answer.ts";
import { Namespace } from "../protocol/topology.ts";
import type { AmqpClient, QueueInfo } from "../transport/amqp-client.ts";
import { EmbeddedBroker } from "../transport/memory/embedded-broker.ts";
import { type OnBlocked, type OnRefused, openRabbit } from "../transport/rabbitmq/open-rabbit.ts";
import { SharedConnection } from "../transport/session/shared-connection.ts";
import type { Transport } from "../transport/transport.ts";
import { readAddress } from "./broker-address.ts";
import { type RemovedQueue, type RemoveServiceOptions, removeService, unbind } from "./broker-admin.ts";
import { type BrokerOptions, brokerOptions, MAX_BODY_BYTES } from "./broker-options.ts";
import { withEnvironment } from "./environment.ts";

export type { DeadLetter, DeadLetterError } from "../dead-letters/dead-letter.ts";
export type {
  DeadLetterSelection,
  DeadLetters,
  ImportDeadLettersOptions,
  ListDeadLettersOptions,
} from "../dead-letters/dead-letters.ts";
export type { ImportedDeadLetters } from "../dead-letters/letter-import.ts";
export type { DeadLetterProperties, DeadLetterRecord } from "../dead-letters/letter-record.ts";
export type { RecordedValue } from "../dead-letters/recorded-value.ts";
export type { DiscoverOptions, Ping } from "../discovery/ask.ts";
export type { DelayQueue, Overview, OverviewOptions } from "../discovery/overview.ts";
export type { QueueOfService, ServiceStats } from "../discovery/service-stats.ts";
export type { Watch, WatchedEvent } from "../discovery/watch.ts";
export type {
  HandlerStats,
  InstanceHealth,
  InstanceInfo,
  InstanceStats,
  JsonSchema,
  LastError,
  RouteInfo,
  StrayStats,
  SubscriptionInfo,
} from "../protocol/discovery/instance-answer.ts";
export type {
  CommandUse,
  Counted,
  Durations,
  EventUse,
  RecentRuns,
  SenderStats,
} from "../protocol/discovery/traffic.ts";
export type { Message, Properties } from "../protocol/message.ts";
export type { AmqpClient, AmqpDelivery, QueueInfo, ServerInfo } from "../transport/amqp-client.ts";
export type { TlsOptions } from "../transport/rabbitmq/tls-options.ts";
export type { RemovedQueue, RemoveServiceOptions } from "./broker-admin.ts";
export type { BrokerOptions } from "./broker-options.ts";

/** A broker's address: an `amqp://` or `amqps://` URL, several of one cluster, `"memory:"`, or a shared {@link Broker}. */
export type BrokerAddress = string | readonly string[] | SharedBroker;

/** A {@link Broker}, of this copy or release of the package or another: what all of them have. */
export type SharedBroker = Pick<Broker, "description" | "namespace" | "maxBodyBytes">;

const OPEN_MS = 20_000;

/**
 * A broker that services of one process share: one pair of connections for all of them, opened with the first
 * `connect` and closed with the last `shutdown`. `new Broker("memory:")` is a private embedded broker, for a test.
 *
 * @example
 * const broker = new Broker("amqp://localhost", { namespace: "shop" });
 * await Promise.all([orders.connect(broker), mail.connect(broker)]);
 * @throws `INVALID_ARGUMENT` for an address or option that is not valid.
 */
export class Broker {
  /** The address, without credentials. */
  readonly description: string;
  readonly namespace: string;
  readonly maxBodyBytes: number;
  readonly #names: Namespace;
  readonly #newId: () => string;
  readonly #connection: SharedConnection;
  readonly #open: (signal: AbortSignal, onBlocked?: OnBlocked, onRefused?: OnRefused) => Promise<AmqpClient>;
  /** The same, with what it takes to write a message again as it was. */
  readonly #openExact: (signal: AbortSignal) => Promise<AmqpClient>;

  constructor(address: string | readonly string[], options?: BrokerOptions) {
    const known = checkOptions("Broker", options, brokerOptions);
    const { maxBodyBytes = MAX_BODY_BYTES } = known;
    const { namespace, tls } = withEnvironment(address, known);
    const { warn, info } = guardedLogger(known.logger);
    this.namespace = checkName(namespace, "namespace");
    this.#names = new Namespace(namespace);
    this.#newId = messageIds(newInstanceId());
    if (!Number.isSafeInteger(maxBodyBytes) || maxBodyBytes < 1) {
      throw invalidArgument("maxBodyBytes", "a whole number of bytes, 1 or more", maxBodyBytes);
    }
    this.maxBodyBytes = maxBodyBytes;
    if (tls !== undefined && (typeof tls !== "object" || tls === null))
      throw invalidArgument("tls", "an object of TLS options", tls);
    const nodes = readAddress(address);
    // Each embedded broker is a world of its own; the nodes of a cluster may be named in any order.
    const place =
      nodes === "memory"
        ? newInstanceId()
        : nodes
            .map(({ shown }) => shown)
            .sort()
            .join(" ");
    if (nodes === "memory") {
      this.description = "memory:";
      const embedded = new EmbeddedBroker({ maxMessageBytes: maxBodyBytes });
      this.#open = () => Promise.resolve(embedded.connect());
      this.#openExact = this.#open;
    } else {
      this.description = nodes.map(({ shown }) => shown).join(", ");
      // A socket calls back in the context in which it was made.
      this.#open = (signal, onBlocked, onRefused) =>
        runOutsideContext(openRabbit, { nodes, tls, onBlocked, onRefused }, signal);
      this.#openExact = (signal) => runOutsideContext(openRabbit, { nodes, tls, keepsHeaders: true }, signal);
    }
    this.#connection = new SharedConnection({
      description: this.description,
      address: place,
      namespace: this.#names,
      open: this.#open,
      newId: this.#newId,
      warn,
      info,
    });
  }

  /** @internal For tests: services gather also what comes alone, and ask nobody first. */
  gathersEagerly = false;

  /** @internal What services join. */
  get transport(): Transport {
    return this.#connection;
  }

  /**
   * Depth and consumers of a queue by its full name, such as `confluo.orders.dead`; `undefined` if there is none.
   * For tests and tools: it opens a connection for the question.
   *
   * @throws `BROKER_UNREACHABLE`, `ACCESS_REFUSED`, `TIMEOUT` (default: 20,000 ms), `CANCELLED`, `INVALID_ARGUMENT`.
   */
  async queue(name: string, options?: WaitOptions): Promise<QueueInfo | undefined> {
    if (typeof name !== "string" || name === "" || !fitsShortString(name))
      throw invalidArgument("The name of a queue", `a string of 1 to ${SHORT_STRING_BYTES} bytes`, name);
    const client = await this.openClient(options);
    try {
      return await client.inspectQueue(name);
    } finally {
      await client.close();
    }
  }

  /**
   * Finds what of a service or several, or of what all share if none is named, lies at the broker otherwise than confluo declares
   * it. What does not exist is no conflict, and is not made.
   *
   * @returns an error for each queue or exchange, with what the broker says: `TOPOLOGY_CONFLICT`; or, for one that
   *   could not be compared, `ACCESS_REFUSED` (this user may not) or `UNAVAILABLE` (its node is down).
   * @throws as {@link Broker.discover}.
   */
  conflicts(of?: string | readonly string[], options?: WaitOptions): Promise<readonly ConfluoError[]> {
    return conflicts(this.#asking, of, options);
  }

  /**
   * The dead letters of a service: to count, look at, replay and discard them. Asks the broker nothing by itself.
   *
   * @example
   * const letters = broker.deadLetters("orders");
   * for (const { id, path, error } of await letters.list({ limit: 50 })) console.log(id, path, error?.message);
   * await letters.replay("all");
   * @throws `INVALID_ARGUMENT` for what cannot be a service's name.
   */
  deadLetters(service: string): DeadLetters {
    checkName(service, "service");
    return this.#letters(this.#names.dead(service), this.#names.inbox(service));
  }

  /**
   * Messages that had waited in a delay queue, or expired, and came back to a queue that someone has deleted meanwhile. A replay
   * sends each to the queue that it was meant for, which a letter names as its `queue`.
   *
   * @example await broker.orphans().replay((letter) => letter.queue === "confluo.orders.inbox");
   */
  orphans(): DeadLetters {
    return this.#letters(this.#names.orphans, undefined);
  }

  /**
   * Asks every instance who it is: its host, process, versions and health, its routes and subscriptions with their contracts
   * as JSON Schema. Only those that are connected answer, and only in this namespace. Takes until nobody has answered for
   * a quarter of a second.
   *
   * @example for (const { service, instance, host } of await broker.discover()) console.log(service, instance, host);
   * @throws `BROKER_UNREACHABLE`, `ACCESS_REFUSED`, `CONNECTION_LOST`, `TIMEOUT` (default: 20,000 ms), `CANCELLED`,
   *   `INVALID_ARGUMENT`.
   */
  async discover(options?: DiscoverOptions): Promise<readonly InstanceInfo[]> {
    return ask(this.#asking, "info", options, async (_wire, heard) => heard.map(({ answer }) => answer));
  }

  /**
   * Asks every instance what it has done, and the broker what waits: by service, with all instances summed up. Counts
   * begin when an instance does; take the difference of two to know a rate.
   *
   * @example for (const { service, queues } of await broker.stats()) console.log(service, queues.inbox?.messages);
   * @throws as {@link Broker.discover}.
   */
  async stats(options?: DiscoverOptions): Promise<readonly ServiceStats[]> {
    return ask(this.#asking, "stats", options, (client, heard) => {
      const answers = heard.map(({ answer }) => answer);
      return byService(client, this.#names, answers);
    });
  }

  /**
   * As {@link Broker.stats}, and what instances cannot tell: which services are down, and what waits in delay queues. AMQP lists
   * no queues, so it looks for those of the services that instances call, send to and hear from, and of `services`.
   *
   * @example for (const { service, instances } of (await broker.overview()).services) console.log(service, instances.length);
   * @throws as {@link Broker.discover}.
   */
  overview(options?: OverviewOptions): Promise<Overview> {
    return overview(this.#asking, options);
  }

  /**
   * Asks every instance whether it is there: how many milliseconds the way there and back took.
   *
   * @throws as {@link Broker.discover}.
   */
  async ping(options?: DiscoverOptions): Promise<readonly Ping[]> {
    return ask(this.#asking, "ping", options, async (_wire, heard) =>
      heard.map(({ answer: { service, instance }, ms }) => ({ service, instance, ms })),
    );
  }

  get #asking(): AskParts {
    return { namespace: this.#names, open: this.#open, newId: this.#newId };
  }

  #letters(queue: string, target: string | undefined): DeadLetters {
    return new DeadLetters({
      queue,
      target,
      namespace: this.#names,
      open: this.#openExact,
      newId: this.#newId,
    });
  }

  /**
   * Ends a service's copies of the events that match a subscription's pattern: removes the binding of its inbox, which
   * outlives subscriptions and instances on purpose. What is in the inbox already stays. RabbitMQ does not say whether
   * there was such a binding, so this resolves in either case, also for a service that does not exist. Instances that
   * still subscribe to the pattern bind it again the next time they connect: deploy them without it first.
   *
   * @example await broker.unbind("mail", "/orders/:id/placed");
   * @throws `BROKER_UNREACHABLE`, `ACCESS_REFUSED`, `CONNECTION_LOST`, `TIMEOUT` (default: 20,000 ms), `CANCELLED`,
   *   `INVALID_ARGUMENT`.
   */
  unbind(service: string, pattern: string, options?: WaitOptions): Promise<void> {
    return unbind(this.#asking, { service, pattern }, options);
  }

  /**
   * Removes the queues of a service that is gone for good, with their bindings: its calls, its inbox and its dead letters. Unless
   * `force` is set, all of them have to be empty and without consumers. What comes between that look and the removal goes with
   * its queue and is counted. Instances that connect later make the queues anew.
   *
   * @returns the queues that were removed.
   * @throws `NO_SUCH_SERVICE` if it has none; `UNAVAILABLE` if one is in use, with these as `data.queues`; and as
   *   {@link Broker.unbind}.
   */
  removeService(service: string, options?: RemoveServiceOptions): Promise<readonly RemovedQueue[]> {
    return removeService(this.#asking, service, options);
  }

  /**
   * Shows events as they pass, from now on, until it is closed or the signal fires. It has a queue of its own, which goes with
   * it: no service misses any for it. A listener that returns a promise gets the next ones when that is settled; what it
   * is too slow for waits at the broker, the latest 10,000 of them. It does not outlast a lost connection.
   *
   * @example const watch = await broker.watch("/orders/#", ({ path, body }) => console.log(path, body));
   * @throws as {@link Broker.discover}.
   */
  watch(pattern: string, listener: (event: WatchedEvent) => unknown, options?: WaitOptions): Promise<Watch> {
    const parts = { events: this.#names.events, open: (limits: WaitOptions) => this.openClient(limits) };
    return watch(parts, pattern, listener, options);
  }

  /**
   * A plain AMQP client on this broker, without confluo's lanes, namespaces and promises: for tests and tools that look
   * from outside. Its shape follows confluo's needs and may change before 1.0.
   *
   * @throws `BROKER_UNREACHABLE`, `ACCESS_REFUSED`, `TIMEOUT` (default: 20,000 ms), `CANCELLED`, `INVALID_ARGUMENT`.
   */
  async openClient(options?: WaitOptions): Promise<AmqpClient> {
    const limits = readWaitOptions("open", options, OPEN_MS);
    const stop = new AbortController();
    const start = (waiter: TimedPromiseControls<AmqpClient>): void => {
      this.#open(stop.signal).then((client) => {
        // A connection that nobody waits for any more would never be closed.
        if (waiter.over) void client.close();
        else waiter.resolve(client);
      }, waiter.reject);
    };
    return waitFor({ ...limits, what: `a connection to ${this.description}` }, start, () => stop.abort());
  }
}

/** Returns whether a value is a {@link Broker}, of whichever copy of the package. */
export function isBroker(value: unknown): value is Broker {
  return typeof value === "object" && value !== null && "transport" in value && "maxBodyBytes" in value;
}
