/** The frame of the conformance suite: what it needs of a test runner and of a broker under test. */

import assert from "node:assert/strict";
import {
  type AmqpClient,
  type AmqpDelivery,
  type Broker,
  type Message,
  type Properties,
  Service,
  type ServiceOptions,
} from "../../index.ts";
import { eventually } from "../eventually.ts";

/** The two functions of a test runner that the suite uses; vitest's, node:test's and others fit. */
export interface TestRunner {
  describe(name: string, define: () => void): unknown;
  it(name: string, test: () => Promise<void>): unknown;
}

/** Opens the broker under test, empty and in a namespace of its own, for one test. */
export interface BrokerUnderTest {
  readonly name: string;
  /** Options of every service, unless a test says otherwise. */
  readonly serviceOptions?: ServiceOptions;
  open(): Promise<OpenBroker>;
}

/** A broker that is open for one test. */
export interface OpenBroker {
  readonly broker: Broker;
  /** Removes what the test left at the broker. */
  close(): Promise<void>;
}

/** The queues of a service, by the last part of their names. */
export type ServiceQueue = "calls" | "inbox" | "dead" | "calls.again" | "calls.batch" | "inbox.again";

/** A line that was logged. */
export interface LogLine {
  readonly level: "debug" | "info" | "warn" | "error";
  readonly message: string;
  readonly details: object;
}

/** For callers in tests that count messages. */
export const oneByOne: ServiceOptions = { batching: { maxCalls: 1 } };

/** What a test of the suite works with. Everything is shut down at its end. */
export class Bench {
  readonly broker: Broker;
  /** Lines that the services logged. */
  readonly log: LogLine[] = [];
  readonly #serviceOptions: ServiceOptions;
  readonly #services: Service[] = [];
  readonly #clients: AmqpClient[] = [];

  constructor(broker: Broker, serviceOptions: ServiceOptions = {}) {
    this.broker = broker;
    this.#serviceOptions = serviceOptions;
  }

  /** A service that is not connected yet. */
  create(name: string, options: ServiceOptions = {}): Service {
    const log = (level: LogLine["level"]) => (details: object, message: string) => {
      this.log.push({ level, message, details });
    };
    const logger = { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") };
    // At once to the dead letters, unless a test is about the way there.
    const usual: ServiceOptions = { retry: { attempts: 1 }, unhandledRetryMs: 0, ...this.#serviceOptions };
    const service = new Service(name, { broker: this.broker, logger, ...usual, ...options });
    this.#services.push(service);
    return service;
  }

  /** A connected service, set up before it connects. */
  async start(
    name: string,
    setUp: (service: Service) => unknown = () => undefined,
    options?: ServiceOptions,
  ): Promise<Service> {
    const service = this.create(name, options);
    setUp(service);
    return service.connect();
  }

  /** A foreign AMQP client. */
  async foreign(): Promise<AmqpClient> {
    const client = await this.broker.openClient();
    this.#clients.push(client);
    return client;
  }

  /** The full name of a service's queue. */
  queue(service: string, lane: ServiceQueue): string {
    return `${this.broker.namespace}.${service}.${lane}`;
  }

  /** Publishes as a foreign client does, and waits for the confirm. */
  async publishForeign(
    exchange: string,
    key: string,
    body: string | Uint8Array,
    properties: Properties = {},
  ): Promise<void> {
    const client = await this.foreign();
    const message: Message = {
      body: typeof body === "string" ? new TextEncoder().encode(body) : body,
      properties,
    };
    await new Promise<void>((resolve, reject) => {
      client.publish({ exchange, key }, message, (failure) => {
        if (failure === undefined) resolve();
        else reject(new Error(`the foreign message was ${failure}`));
      });
    });
  }

  /** Waits for a message in a service's dead-letter queue and takes it. */
  async takeDead(service: string): Promise<Message> {
    const client = await this.foreign();
    const queue = this.queue(service, "dead");
    await eventually(
      async () => ((await client.inspectQueue(queue))?.messages ?? 0) > 0,
      `a dead letter in ${queue}`,
    );
    const taken = signalled<AmqpDelivery>();
    const onDelivery = taken.resolve;
    const consumer = await client.consume({ queue, prefetch: 1, onDelivery, onCancelled: () => undefined });
    const delivery = await taken.promise;
    await consumer.cancel(); // before the acknowledgement, or it would take the next one, too
    delivery.ack();
    return delivery.message;
  }

  /**
   * Takes messages from a queue and dies with them: what an instance leaves behind that is killed while it handles them.
   * Resolves when they are back in the queue.
   */
  async dieWith(service: string, lane: ServiceQueue, count: number): Promise<readonly Message[]> {
    const client = await this.broker.openClient();
    const queue = this.queue(service, lane);
    const taken: Message[] = [];
    const all = signalled();
    await client.consume({
      queue,
      prefetch: count,
      onDelivery: ({ message }) => {
        taken.push(message);
        if (taken.length === count) all.resolve();
      },
      onCancelled: () => undefined,
    });
    await all.promise;
    await client.close();
    return taken;
  }

  /** Messages in a queue that are ready to be delivered; 0 if there is no such queue. */
  async depth(service: string, lane: ServiceQueue): Promise<number> {
    return (await this.broker.queue(this.queue(service, lane)))?.messages ?? 0;
  }

  async close(): Promise<void> {
    await Promise.all(this.#services.map((service) => service.shutdown({ timeoutMs: 2_000 })));
    await Promise.all(this.#clients.map((client) => client.close()));
  }
}

/** Declares the tests of one topic. */
export type Define = (it: (title: string, test: (bench: Bench) => Promise<void>) => void) => void;

/** Runs topics against a broker, each test with a bench of its own. */
export function runTopics(
  runner: TestRunner,
  under: BrokerUnderTest,
  topics: Readonly<Record<string, Define>>,
): void {
  runner.describe(`conformance of ${under.name}`, () => {
    for (const [topic, define] of Object.entries(topics)) {
      runner.describe(topic, () => {
        define((title, test) => {
          runner.it(title, async () => {
            const open = await under.open();
            const bench = new Bench(open.broker, under.serviceOptions);
            try {
              await test(bench);
            } finally {
              await bench.close();
              await open.close();
            }
          });
        });
      });
    }
  });
}

/** A promise and its resolve, for 'the handler was called'. */
export function signalled<Value = void>(): { readonly promise: Promise<Value>; resolve(value: Value): void } {
  let resolve: (value: Value) => void = () => undefined;
  const promise = new Promise<Value>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

/** The reason of a promise that must reject. */
export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new assert.AssertionError({ message: "the promise resolved and should have rejected" });
}
