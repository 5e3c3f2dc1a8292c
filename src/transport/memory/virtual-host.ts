import { randomBytes } from "node:crypto";
import { ConfluoError, show } from "../../errors.ts";
import { bodyLength } from "../../protocol/codec.ts";
import type { Message } from "../../protocol/message.ts";
import type { ExchangeSpec, PublishFailure, QueueSpec, Route } from "../amqp-client.ts";
import type { DeathReason } from "./dead-letter.ts";
import { DeadLetterRouter } from "./dead-letter-router.ts";
import { Exchange } from "./exchange.ts";
import { isExpiration, Queue, type QueuedMessage, type QueueHost } from "./queue.ts";
import { withoutMandatory } from "./received-message.ts";

/** The exchanges, queues and bindings of one broker. */
export class VirtualHost implements QueueHost {
  readonly #maxMessageBytes: number;
  readonly #exchanges = new Map<string, Exchange>();
  readonly #queues = new Map<string, Queue>();
  readonly #deadLetters = new DeadLetterRouter((exchange, key) => this.#route(exchange, key));

  #clients = 0;

  constructor(maxMessageBytes: number) {
    this.#maxMessageBytes = maxMessageBytes;
  }

  get isUsed(): boolean {
    return this.#clients > 0;
  }

  /** Notes that a client has connected (1) or left (-1). */
  count(change: 1 | -1): void {
    const wasUsed = this.isUsed;
    this.#clients += change;
    if (this.isUsed !== wasUsed) for (const queue of this.#queues.values()) queue.useChanged();
  }

  declareExchange(spec: ExchangeSpec): void {
    if (spec.name === "") throw refusedDefaultExchange();
    const existing = this.#exchanges.get(spec.name);
    if (existing !== undefined) {
      existing.assertEquivalent(spec);
      this.#pass(spec);
      return;
    }
    assertUnreserved("exchange", spec.name);
    this.#exchanges.set(spec.name, new Exchange(spec));
    this.#pass(spec);
    this.#deadLetters.retry();
  }

  #pass({ name, passesTo }: ExchangeSpec): void {
    if (passesTo === undefined) return;
    const target = this.#exchanges.get(passesTo.exchange);
    if (target === undefined) throw missing("exchange", passesTo.exchange);
    this.#exchanges.get(name)?.bind(target, passesTo.key);
  }

  declareQueue(spec: QueueSpec, connection: object): Queue {
    const existing = this.#queues.get(spec.name);
    if (existing !== undefined) {
      assertUnlocked(existing, connection);
      existing.assertEquivalent(spec);
      existing.touch();
      return existing;
    }
    assertUnreserved("queue", spec.name);
    const name = spec.name === "" ? `amq.gen-${randomBytes(16).toString("base64url")}` : spec.name;
    const queue = new Queue({ ...spec, name }, spec.exclusive === true ? connection : undefined, this);
    this.#queues.set(name, queue);
    this.#deadLetters.retry();
    return queue;
  }

  hasExchange(name: string): boolean {
    return this.#exchanges.has(name);
  }

  bind(queueName: string, exchangeName: string, key: string, connection: object): void {
    if (exchangeName === "") throw refusedDefaultExchange();
    const queue = this.requireQueue(queueName, connection);
    const exchange = this.#exchanges.get(exchangeName);
    if (exchange === undefined) throw missing("exchange", exchangeName);
    exchange.bind(queue, key);
    this.#deadLetters.retry();
  }

  /** Removes a binding. Does nothing if the binding, the queue or the exchange does not exist. */
  unbind(queueName: string, exchangeName: string, key: string, connection: object): void {
    if (exchangeName === "") throw refusedDefaultExchange();
    const queue = this.findQueue(queueName, connection);
    if (queue !== undefined) this.#exchanges.get(exchangeName)?.unbind(queue, key);
  }

  /**
   * Returns a queue, or `undefined` if there is none.
   *
   * @throws `ACCESS_REFUSED` for another connection's exclusive queue.
   */
  findQueue(name: string, connection: object): Queue | undefined {
    const queue = this.#queues.get(name);
    if (queue !== undefined) assertUnlocked(queue, connection);
    return queue;
  }

  /**
   * Returns a queue.
   *
   * @throws `UNAVAILABLE` if there is none, `ACCESS_REFUSED` for another connection's exclusive queue.
   */
  requireQueue(name: string, connection: object): Queue {
    const queue = this.getQueue(name);
    assertUnlocked(queue, connection);
    return queue;
  }

  /**
   * Returns a queue, whichever connection it belongs to.
   *
   * @throws `UNAVAILABLE` if there is none.
   */
  getQueue(name: string): Queue {
    const queue = this.#queues.get(name);
    if (queue === undefined) throw missing("queue", name);
    return queue;
  }

  queues(): Iterable<Queue> {
    return this.#queues.values();
  }

  /** Publishes a message. Returns the reason if it was not accepted. */
  publish({ exchange, key }: Route, message: Message): PublishFailure | undefined {
    const { properties } = message;
    if (bodyLength(message) > this.#maxMessageBytes) return "too-large";
    // RabbitMQ closes the channel in both cases, so the confirm never comes.
    if (properties.expiration !== undefined && !isExpiration(properties.expiration)) return "lost";
    const queues = this.#route(exchange, key);
    if (queues === undefined) return "lost";
    if (queues.length === 0) return properties.mandatory ? "returned" : undefined;
    const received = properties.mandatory ? withoutMandatory(message) : message;
    const letter: QueuedMessage = { message: received, exchange, key, deaths: noDeaths };
    let failure: PublishFailure | undefined;
    for (const queue of queues) if (!queue.publish(letter)) failure = "refused";
    return failure;
  }

  deleteQueue(name: string): boolean {
    const queue = this.#queues.get(name);
    if (queue === undefined) return false;
    this.#remove(queue, new ConfluoError("UNAVAILABLE", `The queue ${show(name)} was deleted.`));
    return true;
  }

  /** Deletes the exclusive queues of a connection that is gone. */
  releaseOwner(connection: object): void {
    const reason = new ConfluoError(
      "CONNECTION_LOST",
      "The connection that the exclusive queue belongs to is gone.",
    );
    for (const queue of [...this.#queues.values()])
      if (queue.owner === connection) this.#remove(queue, reason);
  }

  deadLetter(queue: Queue, letter: QueuedMessage, reason: DeathReason): void {
    this.#deadLetters.send(queue, letter, reason);
  }

  expireQueue(queue: Queue): void {
    this.deleteQueue(queue.name);
  }

  #remove(queue: Queue, reason: ConfluoError): void {
    this.#queues.delete(queue.name);
    for (const exchange of this.#exchanges.values()) exchange.forget(queue);
    this.#deadLetters.forget(queue);
    queue.destroy(reason);
  }

  #route(exchangeName: string, key: string): readonly Queue[] | undefined {
    if (exchangeName === "") return this.#queues.get(key)?.alone ?? noQueues;
    const exchange = this.#exchanges.get(exchangeName);
    if (exchange === undefined) return undefined;
    return exchange.route(key, this.#alternates);
  }

  readonly #alternates = ({ alternate }: Exchange, key: string): readonly (Queue | Exchange)[] => {
    if (alternate === undefined) return noQueues;
    if (alternate === "") return this.#route(alternate, key) ?? noQueues;
    const exchange = this.#exchanges.get(alternate);
    return exchange === undefined ? noQueues : [exchange];
  };
}

const noDeaths: QueuedMessage["deaths"] = [];
const noQueues: readonly Queue[] = [];

function assertUnlocked(queue: Queue, connection: object): void {
  if (queue.owner === undefined || queue.owner === connection) return;
  throw new ConfluoError(
    "ACCESS_REFUSED",
    `The queue ${show(queue.name)} is exclusive to another connection.`,
  );
}

function assertUnreserved(entity: "queue" | "exchange", name: string): void {
  if (!name.startsWith("amq.")) return;
  throw new ConfluoError(
    "ACCESS_REFUSED",
    `The ${entity} name ${show(name)} starts with "amq.", which is the broker's own: choose another name.`,
  );
}

function refusedDefaultExchange(): ConfluoError {
  return new ConfluoError(
    "ACCESS_REFUSED",
    "The default exchange can be neither declared nor bound: it routes to every queue by name.",
  );
}

function missing(entity: "queue" | "exchange", name: string): ConfluoError {
  return new ConfluoError("UNAVAILABLE", `There is no ${entity} ${show(name)}: declare it first.`);
}
