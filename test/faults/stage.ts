/** Where a fault happens: a service that asks, one that handles, and what lies between them and the broker. */

import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { type Channel, type ChannelModel, connect } from "amqplib";
import type { TestBroker } from "../../scripts/test-broker.mjs";
import { Broker, type ErrorCode, Service, silentLogger } from "../../src/index.ts";
import { Namespace } from "../../src/protocol/topology.ts";
import { eventually } from "../../src/testing/index.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { Traffic, type Verb } from "./traffic.ts";

/** Whose connections a fault is about. */
export type Side = "caller" | "handler" | "both";

/** A column of the matrix. */
export interface Fault {
  /** What happens, in a few words. */
  readonly name: string;
  readonly side: Side;
  /** Lets it happen, and resolves when it is over. */
  strike(stage: Stage): Promise<void>;
  /** The codes that each verb may be rejected with. */
  readonly codes: Readonly<Record<Verb, readonly ErrorCode[]>>;
  /** What may be gone though it was confirmed. */
  readonly mayLose: readonly Verb[];
  /** `never`: nothing is handled twice. Default: what was under way may be. */
  readonly repeats?: "never";
}

export interface StageOptions {
  readonly url: string;
  /** Shared by the faults of one broker, unless they harm what is shared. */
  readonly namespace: string;
  /** Whether the connections of the struck side go through proxies. */
  readonly proxied: boolean;
  /** The node, if it may be struck itself. */
  readonly node?: TestBroker;
}

/** A line that a service has logged. */
interface Line {
  readonly at: number;
  readonly service: string;
  readonly level: "info" | "warn";
  readonly text: string;
  readonly err: unknown;
}

const heartbeatSeconds = 2;
const hearMs = 20_000;

/** Distinct names of services at one broker. */
let stages = 0;

export class Stage {
  readonly traffic: Traffic;
  readonly caller: Service;
  readonly handler: Service;
  readonly namespace: Namespace;
  /** Of the side that the fault is about. */
  readonly proxies: readonly TcpProxy[];
  readonly #url: string;
  readonly #side: Side;
  readonly #node: TestBroker | undefined;
  readonly #openedAt = performance.now();
  readonly #lines: Line[] = [];
  // Not the operator's: RabbitMQ may close it when a queue that it reads is deleted.
  #reader: ChannelModel | undefined;
  #admin: ChannelModel | undefined;

  private constructor(fault: Fault, options: StageOptions & { readonly proxies: Proxied }) {
    const { namespace, url, node, proxies } = options;
    stages += 1;
    this.namespace = new Namespace(namespace);
    this.#node = node;
    this.#url = url;
    this.#side = fault.side;
    this.proxies = [proxies.caller, proxies.handler].flatMap((proxied) => proxied?.proxy ?? []);
    this.traffic = new Traffic(`handler-${stages}`);
    const make = (name: string, address = url): Service => {
      // A connection may be back before anyone has looked: the log is what tells.
      const log =
        (level: Line["level"]) =>
        ({ err }: { readonly err?: unknown }, text: string): void => {
          this.#lines.push({ at: performance.now(), service: name, level, text, err });
        };
      const logger = { ...silentLogger, warn: log("warn"), info: log("info") };
      return new Service(name, {
        broker: new Broker(address, { namespace, logger }),
        logger: silentLogger,
        retry: { backoff: { firstMs: 250, maxMs: 250 } },
      });
    };
    this.caller = make(`caller-${stages}`, proxies.caller?.url);
    this.handler = make(`handler-${stages}`, proxies.handler?.url);
  }

  static async open(fault: Fault, options: StageOptions): Promise<Stage> {
    const url = withHeartbeat(options.url);
    const proxied = async (side: Side): Promise<Listening | undefined> => {
      if (!options.proxied || (fault.side !== side && fault.side !== "both")) return undefined;
      const proxy = new TcpProxy(undefined, url);
      return { proxy, url: await proxy.listen() };
    };
    const proxies = { caller: await proxied("caller"), handler: await proxied("handler") };
    const stage = new Stage(fault, { ...options, url, proxies });
    const { traffic, caller, handler } = stage;
    traffic.handleWith(handler);
    traffic.askWith(caller);
    await Promise.all([caller.connect(), handler.connect()]);
    return stage;
  }

  /** Those whose connections the fault is about. */
  get struck(): readonly Service[] {
    switch (this.#side) {
      case "caller":
        return [this.caller];
      case "handler":
        return [this.handler];
      case "both":
        return [this.caller, this.handler];
      default:
        return this.#side satisfies never;
    }
  }

  /** Resolves when those that are struck have lost their connections. */
  async notice(): Promise<void> {
    await Promise.all(this.struck.map((service) => this.hear(service, "Lost the connection")));
  }

  /** Resolves when a service has logged a warning that contains a text. */
  async hear(service: Service, text: string): Promise<void> {
    const { name } = service;
    const isIt = (line: Line): boolean =>
      line.service === name && line.level === "warn" && line.text.includes(text);
    await eventually(() => this.#lines.some(isIt), `${name} to warn: ${text}`, { timeoutMs: hearMs });
  }

  /** What both services have said, with the time since the stage was opened. */
  get log(): readonly string[] {
    return this.#lines.map(({ at, service, text, err }) => {
      const seconds = ((at - this.#openedAt) / 1_000).toFixed(2);
      return `${seconds} s ${service}: ${text}${err === undefined ? "" : ` (${err})`}`;
    });
  }

  /** The node, which the fault is about. */
  get ownNode(): TestBroker {
    if (this.#node === undefined) throw new Error("this fault needs a node of its own");
    return this.#node;
  }

  /** Works on the broker as an operator would. */
  async administer<Result>(work: (channel: Channel) => Promise<Result>): Promise<Result> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.#administerOnce(work);
      } catch (error) {
        // RabbitMQ closes connections, this one as well, over which something arrives for a queue that is being deleted.
        if (tries === 3 || !/connection closed|channel ended/i.test(String(error))) throw error;
        await leave(this.#admin);
        this.#admin = undefined;
      }
    }
  }

  async #administerOnce<Result>(work: (channel: Channel) => Promise<Result>): Promise<Result> {
    const channel = await this.#channel();
    try {
      return await work(channel);
    } finally {
      // A refusal has closed it already.
      await Promise.resolve()
        .then(() => channel.close())
        .catch(() => undefined);
    }
  }

  // On a connection of its own.
  async #channel(): Promise<Channel> {
    this.#admin ??= await this.#connect();
    const channel = await this.#admin.createChannel();
    channel.on("error", () => undefined);
    return channel;
  }

  async #connect(): Promise<ChannelModel> {
    const admin = await connect(this.#url);
    admin.on("error", () => undefined);
    return admin;
  }

  /** Takes out from now on what gave up or lost its way; to be asked for again after the fault, which may end it. */
  async readLetters(): Promise<void> {
    for (let tries = 1; ; tries += 1) {
      await leave(this.#reader);
      try {
        this.#reader = await this.#connect();
        await this.#readOn(this.#reader);
        return;
      } catch (error) {
        if (tries === 5) throw error;
        await sleep(200); // the queue may be on its way out or in
      }
    }
  }

  async #readOn(connection: ChannelModel): Promise<void> {
    const channel = await connection.createChannel();
    channel.on("error", () => undefined);
    const read = (queue: string, take: (body: unknown, redelivered: boolean) => boolean) =>
      channel.consume(queue, (message) => {
        if (message === null) return;
        const body: unknown = JSON.parse(message.content.toString("utf8"));
        if (take(body, message.fields.redelivered)) channel.ack(message);
      });
    await read(this.namespace.dead(this.handler.name), (body, again) => this.traffic.takeLetter(body, again));
    await read(this.namespace.orphans, (body) => this.traffic.takeOrphan(body));
  }

  /** Leaves the queues of the handling service nowhere. */
  async close(): Promise<void> {
    await Promise.all([this.caller, this.handler].map((service) => service.shutdown({ timeoutMs: 500 })));
    const { namespace, handler } = this;
    const queues = [...namespace.callQueues(handler.name), ...namespace.durableQueues(handler.name)];
    await this.administer(async (channel) => {
      for (const { name } of queues) await channel.deleteQueue(name);
    });
    await leave(this.#admin);
    await leave(this.#reader);
    await Promise.all(this.proxies.map((proxy) => proxy.close()));
  }
}

// One that is broken may have been left already.
async function leave(admin: ChannelModel | undefined): Promise<void> {
  await Promise.resolve()
    .then(() => admin?.close())
    .catch(() => undefined);
}

interface Listening {
  readonly proxy: TcpProxy;
  readonly url: string;
}

interface Proxied {
  readonly caller: Listening | undefined;
  readonly handler: Listening | undefined;
}

function withHeartbeat(url: string): string {
  const address = new URL(url.split(",")[0] ?? url);
  address.searchParams.set("heartbeat", String(heartbeatSeconds));
  return address.href;
}

export function freshNamespace(): string {
  return `faults-${randomBytes(6).toString("hex")}`;
}
