/** The broker that services connect to: RabbitMQ, or the broker embedded in the process. No other file knows both. */

import { runOutsideContext } from "../async/outside-context.ts";
import { type TimedPromiseControls, waitFor } from "../async/timed-promise.ts";
import { DeadLetters } from "../dead-letters/dead-letters.ts";
import { retryWaiting } from "../dead-letters/waiting-retries.ts";
import { type AskParts, ask, type DiscoverOptions, type Ping } from "../discovery/ask.ts";
import { conflicts } from "../discovery/conflicts.ts";
import { delayQueues } from "../discovery/delay-queues.ts";
import { type DelayedMessages, delayedBy } from "../discovery/delayed-messages.ts";
import { type Overview, type OverviewOptions, overview } from "../discovery/overview.ts";
import { byService, type ServiceStats } from "../discovery/service-stats.ts";
import { type Watch, type WatchedEvent, watch } from "../discovery/watch.ts";
import { type ConfluoError, invalidArgument } from "../errors.ts";
import { newInstanceId } from "../identity.ts";
import { guardedLogger } from "../logging/logger.ts";
import { checkOptions, readWaitOptions, type WaitOptions } from "../options/checks.ts";
import { checkName, fitsShortString, SHORT_STRING_BYTES } from "../protocol/address.ts";
import type { InstanceInfo } from "../protocol/discovery/instance-answer.ts";
import { messageIds } from "../protocol/envelope.ts";
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
export type { DelayQueue } from "../discovery/delay-queues.ts";
export type { DelayedMessages } from "../discovery/delayed-messages.ts";
export type { Overview, OverviewOptions } from "../discovery/overview.ts";
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
  DelayCount,
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

/** A broker's address: an `amqp://` or `amqps://` URL, several URLs of one cluster, `"memory:"`, or a shared {@link Broker}. */
export type BrokerAddress = string | readonly string[] | SharedBroker;

/** A {@link Broker} made by this or another copy or release of the package: the members that all of them have. */
export type SharedBroker = Pick<Broker, "description" | "namespace" | "maxBodyBytes">;

const OPEN_MS = 20_000;

/**
 * A broker that services of one process share. They use one pair of connections, which the first `connect` opens and the last
 * `shutdown` closes. `new Broker("memory:")` is an embedded broker of its own, for example for a test.
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
  /** Opens a client that also keeps the raw headers, which are needed to republish a message unchanged. */
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
    // Each embedded broker is a separate one. The nodes of a cluster are sorted, because their order has no meaning.
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
      // A socket runs its callbacks in the asynchronous context in which it was created.
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

  /** @internal For tests: services send even a single call or answer as a batch, without first checking the receiver. */
  gathersEagerly = false;

  /** @internal The transport that services use. */
  get transport(): Transport {
    return this.#connection;
  }

  /**
   * Returns the number of messages and consumers of a queue, given its full name, such as `confluo.orders.dead`; `undefined` if
   * the queue does not exist. For tests and tools: each call opens a connection.
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
   * Finds queues of one or several services that exist at the broker with other arguments than confluo declares. Without a
   * service, it compares the queues and exchanges that all services share. A queue that does not exist is no conflict and is
   * not created.
   *
   * @returns an error for each such queue or exchange, with the broker's explanation: `TOPOLOGY_CONFLICT`; or, if the broker
   *   did not allow the comparison, `ACCESS_REFUSED` (this user lacks a right) or `UNAVAILABLE` (the queue's node is down).
   * @throws as {@link Broker.discover}.
   */
  conflicts(of?: string | readonly string[], options?: WaitOptions): Promise<readonly ConfluoError[]> {
    return conflicts(this.#asking, of, options);
  }

  /**
   * Returns access to the dead letters of a service: to count, inspect, replay and discard them. Does not contact the broker.
   *
   * @example
   * const letters = broker.deadLetters("orders");
   * for (const { id, path, error } of await letters.list({ limit: 50 })) console.log(id, path, error?.message);
   * await letters.replay("all");
   * @throws `INVALID_ARGUMENT` for a text that cannot be the name of a service.
   */
  deadLetters(service: string): DeadLetters {
    checkName(service, "service");
    return this.#letters(this.#names.dead(service), this.#names.inbox(service));
  }

  /**
   * Returns access to the orphans: messages that waited in a delay queue, or expired, and whose queue was deleted before they
   * came back to it. A replay sends each to the queue that it was meant for, which is the `queue` of its letter.
   *
   * @example await broker.orphans().replay((letter) => letter.queue === "confluo.orders.inbox");
   */
  orphans(): DeadLetters {
    return this.#letters(this.#names.orphans, undefined);
  }

  /**
   * Asks every instance for a description of itself: its host, process, versions and health, its routes and subscriptions with
   * their contracts as JSON Schema. Only instances that are connected in this namespace answer. The question ends when no
   * further answer has arrived for a quarter of a second.
   *
   * @example for (const { service, instance, host } of await broker.discover()) console.log(service, instance, host);
   * @throws `BROKER_UNREACHABLE`, `ACCESS_REFUSED`, `CONNECTION_LOST`, `TIMEOUT` (default: 20,000 ms), `CANCELLED`,
   *   `INVALID_ARGUMENT`.
   */
  async discover(options?: DiscoverOptions): Promise<readonly InstanceInfo[]> {
    return ask(this.#asking, "info", options, async (_wire, heard) => heard.map(({ answer }) => answer));
  }

  /**
   * Asks every instance for its statistics, and the broker for the lengths of the queues. Returns one entry per service, with
   * the sums of its instances. Counts start when an instance starts; a rate is the difference of two results.
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
   * Returns the same as {@link Broker.stats}, and also what no instance can report: services without a running instance, and
   * the messages in delay queues. AMQP cannot list queues. So it looks for the queues of all services that instances call, send
   * to or receive from, and of those in `services`.
   *
   * @example for (const { service, instances } of (await broker.overview()).services) console.log(service, instances.length);
   * @throws as {@link Broker.discover}.
   */
  overview(options?: OverviewOptions): Promise<Overview> {
    return overview(this.#asking, options);
  }

  /**
   * Asks every instance which delayed messages it has sent that are not due yet. Returns one entry for each service to whose
   * inbox such messages return. Messages of senders that are gone are not counted.
   *
   * @example for (const { service, messages, until } of await broker.delayed()) console.log(service, messages, until);
   * @throws as {@link Broker.discover}.
   */
  async delayed(options?: WaitOptions): Promise<readonly DelayedMessages[]> {
    return ask(this.#asking, "stats", options, async (_client, heard) =>
      delayedBy(heard.map(({ answer }) => answer)),
    );
  }

  /**
   * Has the messages of a service that wait for another try, because they have failed, tried again now. Each is published to the
   * inbox that it would return to, and removed from its delay queue once the broker has confirmed that. So a crash in between
   * may duplicate a message but never loses it. It stays the same try with the same id. Delayed messages that were not tried yet
   * keep waiting. Looks through at most the first 20,000 messages of each delay queue that stay, which may be late by that time.
   *
   * @returns the number of messages that were brought forward.
   * @throws `NO_SUCH_SERVICE` if the inbox does not exist; `UNAVAILABLE` if the broker refuses a copy. The message then stays.
   *   The error's `data.retried` is the number of those brought forward so far. Default of `timeoutMs`: 60,000. And as
   *   {@link Broker.discover}.
   */
  retry(service: string, options?: WaitOptions): Promise<number> {
    const { namespace, newId } = this.#asking;
    const queues = async (client: AmqpClient): Promise<readonly string[]> =>
      (await delayQueues(client, namespace, () => undefined)).map(({ name }) => name);
    return retryWaiting({ namespace, newId, open: this.#openExact, delayQueues: queues }, service, options);
  }

  /**
   * Asks every instance for a sign of life, and returns the round-trip time of each in milliseconds.
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
   * Stops the delivery of events that match a pattern to a service: removes the binding of the service's inbox, which
   * deliberately outlives subscriptions and instances. Messages that are already in the inbox stay there. RabbitMQ does not
   * report whether the binding existed, so the promise resolves in either case, even for a service that does not exist.
   * Instances that still subscribe to the pattern bind it again when they next connect, so deploy them without the subscription
   * first.
   *
   * @example await broker.unbind("mail", "/orders/:id/placed");
   * @throws `BROKER_UNREACHABLE`, `ACCESS_REFUSED`, `CONNECTION_LOST`, `TIMEOUT` (default: 20,000 ms), `CANCELLED`,
   *   `INVALID_ARGUMENT`.
   */
  unbind(service: string, pattern: string, options?: WaitOptions): Promise<void> {
    return unbind(this.#asking, { service, pattern }, options);
  }

  /**
   * Removes the queues of a service that will not run again, with their bindings: its calls, its inbox and its dead letters.
   * Unless `force` is set, all of them must be empty and without consumers. A message that arrives between that check and the
   * removal is deleted with its queue and counted. Instances that connect later create the queues again.
   *
   * @returns the queues that were removed.
   * @throws `NO_SUCH_SERVICE` if the service has no queues; `UNAVAILABLE` if a queue is in use, with these queues as
   *   `data.queues`; and as {@link Broker.unbind}.
   */
  removeService(service: string, options?: RemoveServiceOptions): Promise<readonly RemovedQueue[]> {
    return removeService(this.#asking, service, options);
  }

  /**
   * Passes all events that match a pattern to a listener, from now on, until the watch is closed or the signal aborts. The
   * watch has a queue of its own, which is deleted with it, so no service misses an event because of it. If the listener
   * returns a promise, the next events follow once that promise has settled. Meanwhile, the latest 10,000 events wait at the
   * broker, and older ones are dropped. The watch ends if the connection is lost.
   *
   * @example const watch = await broker.watch("/orders/#", ({ path, body }) => console.log(path, body));
   * @throws as {@link Broker.discover}.
   */
  watch(pattern: string, listener: (event: WatchedEvent) => unknown, options?: WaitOptions): Promise<Watch> {
    const parts = { events: this.#names.events, open: (limits: WaitOptions) => this.openClient(limits) };
    return watch(parts, pattern, listener, options);
  }

  /**
   * Opens a plain AMQP client to this broker, without confluo's lanes, namespaces and guarantees, for tests and tools that need
   * a view from outside. Its interface follows confluo's needs and may change before 1.0.
   *
   * @throws `BROKER_UNREACHABLE`, `ACCESS_REFUSED`, `TIMEOUT` (default: 20,000 ms), `CANCELLED`, `INVALID_ARGUMENT`.
   */
  async openClient(options?: WaitOptions): Promise<AmqpClient> {
    const limits = readWaitOptions("open", options, OPEN_MS);
    const stop = new AbortController();
    const start = (waiter: TimedPromiseControls<AmqpClient>): void => {
      this.#open(stop.signal).then((client) => {
        // The caller no longer waits for the connection, so nothing else would close it.
        if (waiter.over) void client.close();
        else waiter.resolve(client);
      }, waiter.reject);
    };
    return waitFor({ ...limits, what: `a connection to ${this.description}` }, start, () => stop.abort());
  }
}

/** Returns whether a value is a {@link Broker}, made by any copy of the package. */
export function isBroker(value: unknown): value is Broker {
  return typeof value === "object" && value !== null && "transport" in value && "maxBodyBytes" in value;
}
