/** {@link AmqpClient} over RabbitMQ: one connection to publish, one to consume and declare. */

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
import { requestAll } from "./pipeline.ts";
import { ConfirmPublisher } from "./publishing/confirm-publisher.ts";
import { tooMuchForAFrame } from "./publishing/frame-limit.ts";
import { PublishBackpressure } from "./publishing/publish-backpressure.ts";
import { Refusals } from "./publishing/refusals.ts";
import { Replies } from "./publishing/replies.ts";
import type { TlsOptions } from "./tls-options.ts";

/** How to reach RabbitMQ. */
export interface RabbitOptions {
  /** Tried in this order. */
  readonly urls: readonly BrokerUrl[];
  readonly tls: TlsOptions | undefined;
  readonly connectionName: string;
  /** The broker takes no messages any more, with the reason in its words, or goes on. */
  readonly onBlocked: (reason: string | undefined) => void;
  /** The user lacks a right to publish, with the broker's words: once, until it has the right. */
  readonly onRefused: (error: ConfluoError) => void;
  /** True if deliveries hold the bytes of their header tables. Default: no. */
  readonly keepsHeaders?: boolean | undefined;
}

const CONNECT_MS = 5_000;
const WATCH_MS = 5_000;
const PATIENCE_MS = 10_000;
const SLOWEST_BYTES_PER_MS = 50;

/**
 * Connects to the first address that answers.
 *
 * @throws `INVALID_ARGUMENT` for TLS options that cannot be used; `BROKER_UNREACHABLE`, `ACCESS_REFUSED` for the last
 * address when none takes us.
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
  const publishing = await open("publish");
  try {
    const consuming = await open("consume", { keepsHeaders });
    const { onBlocked, onRefused } = options;
    const client = new RabbitClient({ publishing, consuming, shown: url.shown, onBlocked, onRefused });
    await client.open();
    return client;
  } catch (error) {
    await publishing.close();
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
  // Calls and replies cannot break the channel for events, whose exchange could be missing, nor the other way round.
  readonly #direct: ConfirmPublisher;
  readonly #exchanges: ConfirmPublisher;
  /** For what was refused of late: it costs only its like a channel. Opened when there is any. */
  readonly #suspects: ConfirmPublisher;
  readonly #refusals: Refusals;
  readonly #pressure = new PublishBackpressure();
  #settledBefore = 0;
  /** For how long it has given no sign of life since it was asked for one. */
  #silentMs: number | undefined;
  readonly #replies: Replies;
  readonly #controls: ManagementChannels;

  constructor({ publishing, consuming, shown, onBlocked, onRefused }: ClientParts) {
    this.server = publishing.server;
    this.mostPropertyBytes = mostPropertyBytes(publishing.frameBytes);
    // Where a frame holds all that amqplib can write, that itself says what is too much.
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
    this.lost = Promise.race([publishing.lost, consuming.lost]).then(async (cause) => {
      // Half a connection is of no use.
      clearInterval(watch);
      this.#pressure.end();
      await Promise.all([publishing.close(), consuming.close()]);
      if (cause === undefined) return undefined;
      return brokenFailure(cause, shown);
    });
  }

  // RabbitMQ has been seen to take nothing more from a connection and to say nothing of it, heartbeats apart, after a quorum
  // queue was deleted under load. So when nothing is confirmed for a while, the connection is asked for a sign of life. One
  // that gives none is given up, in a time in which even a slow line would have carried all that is under way.
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
    // By turns of this watch, not by the clock: while the process stands still, nobody listens.
    this.#silentMs += WATCH_MS;
    if (this.#silentMs <= PATIENCE_MS + bytes / SLOWEST_BYTES_PER_MS) return;
    // The answer may have arrived and not be read yet.
    setImmediate(() => {
      if (this.#silentMs !== undefined && this.#pressure.progress.settled === settled)
        this.#publishing.giveUp(new Error("the broker confirmed nothing more and gave no sign of life"));
    });
  }

  async open(): Promise<void> {
    try {
      await Promise.all([this.#direct.open(), this.#exchanges.open(), this.#replies.open()]);
    } catch (error) {
      await this.close();
      throw operationFailure(error, "open a channel");
    }
  }

  declareExchange({ name, type, arguments: args }: ExchangeSpec): Promise<void> {
    return this.#controls.run(`declare the exchange ${name}`, async (channel) => {
      await channel.assertExchange(name, type, { durable: true, arguments: args ?? {} });
    });
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
