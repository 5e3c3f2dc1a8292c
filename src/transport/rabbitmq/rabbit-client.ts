/** The {@link AmqpClient} over RabbitMQ: one connection to publish, one to consume and to declare. */

import type { Gate } from "../../async/gate.ts";
import { ConfluoError, isConfluoError } from "../../errors.ts";
import { mostPropertyBytes } from "../../protocol/encoding/property-size.ts";
import type { Message } from "../../protocol/message.ts";
import type {
  AmqpClient,
  ConsumeOptions,
  Consumer,
  ExchangeSpec,
  PublishSettled,
  QueueInfo,
  QueueSpec,
  Route,
  ServerInfo,
  TopologyRequest,
} from "../amqp-client.ts";
import type { BrokerUrl } from "./broker-url.ts";
import { type Connection, checkTls, openConnection } from "./connection.ts";
import { startConsumer } from "./consuming/consumer.ts";
import { brokenFailure, isMissing, operationFailure } from "./failure.ts";
import { ManagementChannels } from "./management-channels.ts";
import { declareExchange, requestAll } from "./pipeline.ts";
import { ConfirmPublisher } from "./publishing/confirm-publisher.ts";
import { tooMuchForAFrame } from "./publishing/frame-limit.ts";
import { PublishBackpressure } from "./publishing/publish-backpressure.ts";
import { Refusals } from "./publishing/refusals.ts";
import { Replies } from "./publishing/replies.ts";
import type { TlsOptions } from "./tls-options.ts";

/** The options of a client for RabbitMQ. */
export interface RabbitOptions {
  /** The addresses, in the order in which they are tried. */
  readonly urls: readonly BrokerUrl[];
  readonly tls: TlsOptions | undefined;
  readonly connectionName: string;
  /** Is called with the broker's reason when it accepts no more messages, and with `undefined` when it accepts them again. */
  readonly onBlocked: (reason: string | undefined) => void;
  /**
   * Is called with the broker's error when the user lacks a right to publish. Not called again until the user has had that
   * right.
   */
  readonly onRefused: (error: ConfluoError) => void;
  /** True if deliveries must contain the encoded header table. Default: false. */
  readonly keepsHeaders?: boolean | undefined;
}

/** The timeout for each connection, in milliseconds. */
const CONNECT_MS = 5_000;
/** The interval of the check whether confirms arrive, in milliseconds. */
const WATCH_MS = 5_000;
/** The interval at which channels that were not used since the last time are closed, in milliseconds. */
const REST_MS = 15_000;
/**
 * How long the broker may be silent before the connection is given up, in milliseconds, plus the time for the bytes under way.
 */
const PATIENCE_MS = 10_000;
/** The slowest line that is allowed for. */
const SLOWEST_BYTES_PER_MS = 50;

/**
 * Connects to the first address that answers.
 *
 * @throws `INVALID_ARGUMENT` if the TLS options cannot be used. If every address fails: `ACCESS_REFUSED` if all of them
 * refused, else `BROKER_UNREACHABLE`; for a single address, its own error.
 */
export async function openRabbitClient(options: RabbitOptions, signal: AbortSignal): Promise<AmqpClient> {
  checkTls(options.tls);
  const failures: ConfluoError[] = [];
  for (const url of options.urls) {
    try {
      return await openAt(url, options, signal);
    } catch (error) {
      if (!isConfluoError(error)) throw error;
      failures.push(error);
    }
    signal.throwIfAborted();
  }
  const [only] = failures;
  if (failures.length === 1 && only !== undefined) throw only;
  const code = failures.every((failure) => failure.code === "ACCESS_REFUSED")
    ? "ACCESS_REFUSED"
    : "BROKER_UNREACHABLE";
  throw new ConfluoError(code, failures.map((failure) => failure.message).join(" "), {
    cause: failures.at(-1),
  });
}

async function openAt(url: BrokerUrl, options: RabbitOptions, signal: AbortSignal): Promise<AmqpClient> {
  const { tls, connectionName, keepsHeaders = false } = options;
  const open = (purpose: string, more: { readonly keepsHeaders?: boolean } = {}): Promise<Connection> =>
    openConnection({
      url,
      tls,
      signal,
      timeoutMs: CONNECT_MS,
      name: `${connectionName} (${purpose})`,
      ...more,
    });
  const [publishing, consuming] = await both(open("publish"), open("consume", { keepsHeaders }));
  const { onBlocked, onRefused } = options;
  const client = new RabbitClient({ publishing, consuming, shown: url.shown, onBlocked, onRefused });
  await client.open();
  return client;
}

// Waits for two connections, which are opened at the same time, because each takes several round trips. If one of them fails,
// the other is closed.
async function both(
  ...opening: [Promise<Connection>, Promise<Connection>]
): Promise<[Connection, Connection]> {
  try {
    return await Promise.all(opening);
  } catch (error) {
    const settled = await Promise.allSettled(opening);
    await Promise.all(settled.map((each) => (each.status === "fulfilled" ? each.value.close() : undefined)));
    throw error;
  }
}

interface ClientParts {
  readonly publishing: Connection;
  readonly consuming: Connection;
  readonly shown: string;
  readonly onBlocked: RabbitOptions["onBlocked"];
  readonly onRefused: RabbitOptions["onRefused"];
}

class RabbitClient implements AmqpClient {
  readonly server: ServerInfo;
  readonly mostPropertyBytes: number;
  readonly lost: Promise<ConfluoError | undefined>;
  readonly #publishing: Connection;
  readonly #consuming: Connection;
  readonly #isNarrow: boolean;
  // Separate channels for calls and for events. An exchange that is missing closes only the channel for exchanges.
  readonly #direct: ConfirmPublisher;
  readonly #exchanges: ConfirmPublisher;
  /**
   * The channel for routes that were recently refused, so that a further refusal closes no other channel. Opened when it is
   * first needed.
   */
  readonly #suspects: ConfirmPublisher;
  readonly #refusals: Refusals;
  readonly #pressure = new PublishBackpressure();
  #settledBefore = 0;
  /**
   * How long the broker has been silent since a sign of life was requested, in milliseconds; `undefined` if none is awaited.
   */
  #silentMs: number | undefined;
  readonly #replies: Replies;
  readonly #controls: ManagementChannels;

  constructor({ publishing, consuming, shown, onBlocked, onRefused }: ClientParts) {
    this.server = publishing.server;
    this.mostPropertyBytes = mostPropertyBytes(publishing.frameBytes);
    // If a frame can hold all properties that amqplib can encode, amqplib itself rejects what is too large.
    this.#isNarrow = this.mostPropertyBytes < mostPropertyBytes();
    this.#publishing = publishing;
    this.#consuming = consuming;
    this.#controls = new ManagementChannels(consuming);
    const refusals = new Refusals(onRefused);
    this.#refusals = refusals;
    const publisher = (isSpare = false): ConfirmPublisher =>
      new ConfirmPublisher(publishing, this.#pressure, refusals, isSpare);
    this.#direct = publisher();
    this.#exchanges = publisher();
    this.#suspects = publisher(true);
    this.#replies = new Replies(publishing, this.#pressure, { confirmed: this.#direct, refusals });
    publishing.onBlocked = (reason) => {
      this.#pressure.setBlocked(reason);
      onBlocked(reason);
    };
    const watch = setInterval(() => this.#watch(), WATCH_MS).unref();
    const rest = setInterval(() => this.#rest(), REST_MS).unref();
    this.lost = Promise.race([publishing.lost, consuming.lost]).then(async (cause) => {
      // One connection without the other is of no use, so both are closed.
      clearInterval(watch);
      clearInterval(rest);
      this.#pressure.end();
      await Promise.all([publishing.close(), consuming.close()]);
      if (cause === undefined) return undefined;
      return brokenFailure(cause, shown);
    });
  }

  // RabbitMQ has been seen to accept nothing more from a connection after a quorum queue was deleted under load, without any
  // notice and with heartbeats going on. So if nothing is confirmed for a while, this requests a sign of life. If none comes,
  // the connection is given up. The wait is long enough for a slow line to carry everything that is under way.
  #watch(): void {
    const { bytes, settled } = this.#pressure.progress;
    const stands = bytes > 0 && settled === this.#settledBefore && this.#pressure.blocked === undefined;
    this.#settledBefore = settled;
    if (!stands) {
      this.#silentMs = undefined;
      return;
    }
    if (this.#silentMs === undefined) {
      this.#silentMs = 0;
      const answered = (): void => {
        this.#silentMs = undefined;
      };
      this.#publishing.signOfLife().then(answered, () => undefined);
      return;
    }
    // Counts intervals of this check instead of reading the clock, because a process that is paused reads no answer.
    this.#silentMs += WATCH_MS;
    if (this.#silentMs <= PATIENCE_MS + bytes / SLOWEST_BYTES_PER_MS) return;
    // The answer may have arrived without having been read yet.
    setImmediate(() => {
      if (this.#silentMs !== undefined && this.#pressure.progress.settled === settled)
        this.#publishing.giveUp(new Error("the broker confirmed nothing more and gave no sign of life"));
    });
  }

  // The channels for calls and replies stay open: a call must not wait for one, and a question to all instances must not make
  // all of them open one at once.
  #rest(): void {
    for (const each of [this.#exchanges, this.#suspects, this.#controls]) each.rest();
  }

  async open(): Promise<void> {
    try {
      await Promise.all([
        this.#direct.open(),
        this.#exchanges.open(),
        this.#replies.open(),
        this.#controls.open(),
      ]);
    } catch (error) {
      await this.close();
      throw operationFailure(error, "open a channel");
    }
  }

  declareExchange(spec: ExchangeSpec): Promise<void> {
    return this.#controls.run(`declare the exchange ${spec.name}`, (channel) =>
      declareExchange(channel, spec),
    );
  }

  async hasExchange(name: string): Promise<boolean> {
    try {
      await this.#controls.run(`look for the exchange ${name}`, (channel) => channel.checkExchange(name));
      return true;
    } catch (error) {
      if (isMissing(error, "exchange")) return false;
      throw error;
    }
  }

  declareQueue({ name, exclusive, arguments: args }: QueueSpec): Promise<string> {
    const own = exclusive === true;
    const options = { durable: !own, exclusive: own, autoDelete: own, arguments: args };
    return this.#controls.run(
      name === "" ? "declare a queue" : `declare the queue ${name}`,
      async (channel) => (await channel.assertQueue(name, options)).queue,
    );
  }

  bind(queue: string, exchange: string, key: string): Promise<void> {
    return this.#controls.run(`bind ${queue} to ${exchange}`, async (channel) => {
      await channel.bindQueue(queue, exchange, key);
    });
  }

  unbind(queue: string, exchange: string, key: string): Promise<void> {
    return this.#controls.run(`unbind ${queue} from ${exchange}`, async (channel) => {
      await channel.unbindQueue(queue, exchange, key);
    });
  }

  request(requests: readonly TopologyRequest[]): Promise<void> {
    const what = `declare and bind ${requests.length} exchanges, queues and bindings`;
    return this.#controls.run(what, (channel) => requestAll(channel, requests));
  }

  deleteQueue(name: string, when?: "unused" | "unused and empty"): Promise<number> {
    const only = { ifUnused: when !== undefined, ifEmpty: when === "unused and empty" };
    return this.#controls.run(`delete the queue ${name}`, async (channel) => {
      return (await channel.deleteQueue(name, only)).messageCount;
    });
  }

  async inspectQueue(name: string): Promise<QueueInfo | undefined> {
    try {
      return await this.#controls.run(`inspect ${name}`, async (channel) => {
        const { messageCount, consumerCount } = await channel.checkQueue(name);
        return { messages: messageCount, consumers: consumerCount };
      });
    } catch (error) {
      if (isMissing(error, "queue")) return undefined;
      throw error;
    }
  }

  publish(route: Route, message: Message, settled: PublishSettled): void {
    const tooMuch = this.#isNarrow ? tooMuchForAFrame(message, this.mostPropertyBytes) : undefined;
    if (tooMuch !== undefined) setImmediate(settled, "invalid", tooMuch);
    else if (this.#refusals.any && this.#refusals.has(route)) this.#suspects.publish(route, message, settled);
    else (route.exchange === "" ? this.#direct : this.#exchanges).publish(route, message, settled);
  }

  post(queue: string, message: Message, failed?: PublishSettled): void {
    const tooMuch = this.#isNarrow ? tooMuchForAFrame(message, this.mostPropertyBytes) : undefined;
    if (tooMuch === undefined) this.#replies.post(queue, message, failed);
    else if (failed !== undefined) setImmediate(failed, "invalid", tooMuch);
  }

  get congestion(): Gate | undefined {
    return this.#pressure.congestion;
  }

  get blocked(): string | undefined {
    return this.#pressure.blocked;
  }

  get refused(): ConfluoError | undefined {
    return this.#refusals.any ? this.#refusals.present : undefined;
  }

  consume(options: ConsumeOptions): Promise<Consumer> {
    return startConsumer(this.#consuming, options);
  }

  async close(): Promise<void> {
    await Promise.all([this.#consuming.close(), this.#publishing.close()]);
  }
}
