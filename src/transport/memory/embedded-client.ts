import { ConfluoError, invalidArgument, show } from "../../errors.ts";
import { mostPropertyBytes, propertyBytes } from "../../protocol/encoding/property-size.ts";
import type { Message } from "../../protocol/message.ts";
import type {
  AmqpClient,
  ConsumeOptions,
  Consumer,
  ExchangeSpec,
  PublishFailure,
  PublishSettled,
  QueueInfo,
  QueueSpec,
  Route,
  ServerInfo,
} from "../amqp-client.ts";
import { Deque } from "./deque.ts";
import { EmbeddedConsumer } from "./embedded-consumer.ts";
import { surface, type TurnLoop, type TurnTask } from "./turn-loop.ts";
import type { VirtualHost } from "./virtual-host.ts";

/** The largest prefetch that AMQP's field can hold. */
const largestPrefetch = 65_535;

type SettledPublish = (failure?: PublishFailure) => void;

/** A publish that failed. One that succeeded is represented by its callback alone. */
interface FailedPublish {
  readonly settled: SettledPublish;
  readonly failure: PublishFailure;
}

/** A connection to an embedded broker. Requests take effect at once; callbacks are made in the next turn of the event loop. */
export class EmbeddedClient implements AmqpClient, TurnTask {
  readonly server: ServerInfo = { product: "confluo, embedded", version: "", capabilities: [] };
  /** The same as with RabbitMQ's usual limit on frames. */
  readonly mostPropertyBytes: number = mostPropertyBytes();
  readonly lost: Promise<ConfluoError | undefined>;
  /** `undefined`, because the embedded broker always accepts messages. */
  readonly congestion = undefined;
  readonly blocked = undefined;
  readonly refused = undefined;
  scheduled = false;
  readonly #host: VirtualHost;
  readonly #turns: TurnLoop;
  readonly #consumers = new Set<EmbeddedConsumer>();
  readonly #confirms = new Deque<SettledPublish | FailedPublish>();
  #state: "open" | "closing" | "gone" = "open";
  #resolveLost: (reason: ConfluoError | undefined) => void = () => {};

  constructor(host: VirtualHost, turns: TurnLoop) {
    this.#host = host;
    this.#turns = turns;
    host.count(1);
    this.lost = new Promise((resolve) => {
      this.#resolveLost = resolve;
    });
  }

  async declareExchange(spec: ExchangeSpec): Promise<void> {
    this.#assertOpen();
    this.#host.declareExchange(spec);
  }

  async declareQueue(spec: QueueSpec): Promise<string> {
    this.#assertOpen();
    return this.#host.declareQueue(spec, this).name;
  }

  async hasExchange(name: string): Promise<boolean> {
    this.#assertOpen();
    return this.#host.hasExchange(name);
  }

  async bind(queue: string, exchange: string, key: string): Promise<void> {
    this.#assertOpen();
    this.#host.bind(queue, exchange, key, this);
  }

  async unbind(queue: string, exchange: string, key: string): Promise<void> {
    this.#assertOpen();
    this.#host.unbind(queue, exchange, key, this);
  }

  async deleteQueue(name: string, when?: "unused" | "unused and empty"): Promise<number> {
    this.#assertOpen();
    const queue = this.#host.findQueue(name, this);
    if (queue === undefined) return 0;
    const { depth } = queue;
    if (when !== undefined && queue.consumerCount > 0)
      throw new ConfluoError("TOPOLOGY_CONFLICT", `The queue ${show(name)} is in use.`);
    if (when === "unused and empty" && depth > 0)
      throw new ConfluoError("TOPOLOGY_CONFLICT", `The queue ${show(name)} is not empty.`);
    this.#host.deleteQueue(name);
    return depth;
  }

  async inspectQueue(name: string): Promise<QueueInfo | undefined> {
    this.#assertOpen();
    const queue = this.#host.findQueue(name, this);
    if (queue === undefined) return undefined;
    // RabbitMQ implements an inspection as a passive declare, which counts as use.
    queue.touch();
    return { messages: queue.depth, consumers: queue.consumerCount };
  }

  publish(route: Route, message: Message, settled: SettledPublish): void {
    const failure = this.#state === "open" ? this.#publish(route, message) : "lost";
    this.#confirms.push(failure === undefined ? settled : { settled, failure });
    this.#turns.schedule(this);
  }

  post(queue: string, message: Message, failed?: PublishSettled): void {
    if (this.#state !== "open") return;
    const failure = this.#publish({ exchange: "", key: queue }, message);
    if (failed === undefined || failure === undefined) return;
    if (failure === "too-large" || failure === "invalid") setImmediate(failed, failure);
  }

  #publish(route: Route, message: Message): PublishFailure | undefined {
    const { headers } = message.properties;
    if (headers !== undefined && propertyBytes(message.properties) > this.mostPropertyBytes) return "invalid";
    return this.#host.publish(route, message);
  }

  async consume(options: ConsumeOptions): Promise<Consumer> {
    this.#assertOpen();
    const { prefetch } = options;
    if (
      prefetch !== "no-ack" &&
      !(Number.isInteger(prefetch) && prefetch >= 0 && prefetch <= largestPrefetch)
    ) {
      throw invalidArgument(
        "prefetch",
        `"no-ack" or a whole number from 0 (no limit) to ${largestPrefetch}`,
        prefetch,
      );
    }
    const queue = this.#host.requireQueue(options.queue, this);
    const onDone = (done: EmbeddedConsumer): void => void this.#consumers.delete(done);
    const consumer = new EmbeddedConsumer(options, { queue, turns: this.#turns, onDone });
    this.#consumers.add(consumer);
    queue.add(consumer);
    return consumer;
  }

  async close(): Promise<void> {
    if (this.#state === "open") {
      this.#state = "closing";
      this.#release();
      // The client ends in the turn that has settled every publish.
      this.#turns.schedule(this);
    }
    await this.lost;
  }

  /** Breaks the client as a killed connection does: publishes that are not confirmed yet fail as `lost`. */
  disconnect(reason: ConfluoError): void {
    if (this.#state === "gone") return;
    if (this.#state === "open") this.#release();
    for (let left = this.#confirms.length; left > 0; left -= 1) {
      const confirm = this.#confirms.shift();
      if (confirm !== undefined) this.#confirms.push({ settled: settledOf(confirm), failure: "lost" });
    }
    this.#finish(reason);
  }

  run(limit: number): boolean {
    for (let left = limit; left > 0; left -= 1) {
      const confirm = this.#confirms.shift();
      if (confirm === undefined) break;
      try {
        if (typeof confirm === "function") confirm();
        else confirm.settled(confirm.failure);
      } catch (error) {
        surface(error);
      }
    }
    if (this.#confirms.length > 0) return true;
    if (this.#state === "closing") this.#finish(undefined);
    return false;
  }

  #release(): void {
    for (const consumer of [...this.#consumers]) consumer.release();
    this.#host.releaseOwner(this);
  }

  #finish(reason: ConfluoError | undefined): void {
    this.#state = "gone";
    this.#host.count(-1);
    this.#resolveLost(reason);
  }

  #assertOpen(): void {
    if (this.#state !== "open")
      throw new ConfluoError("CONNECTION_LOST", "The connection to the embedded broker is closed.");
  }
}

function settledOf(confirm: SettledPublish | FailedPublish): SettledPublish {
  return typeof confirm === "function" ? confirm : confirm.settled;
}
