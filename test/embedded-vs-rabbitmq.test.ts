/** The embedded broker against a real RabbitMQ: the same steps on both must have the same outcome. */

import { randomBytes } from "node:crypto";
import { type ChannelModel, type ConfirmChannel, type ConsumeMessage, connect } from "amqplib";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Message, Properties } from "../src/protocol/message.ts";
import type {
  AmqpClient,
  ConsumeOptions,
  Consumer,
  PublishFailure,
  QueueArguments,
  QueueInfo,
  Route,
} from "../src/transport/amqp-client.ts";
import { EmbeddedBroker } from "../src/transport/memory/embedded-broker.ts";

/** The part of `Wire` that the scenarios use, which {@link RabbitSide} implements as plainly as can be. */
type Side = Pick<
  AmqpClient,
  "declareExchange" | "declareQueue" | "bind" | "publish" | "consume" | "inspectQueue"
>;

const runPrefix = `confluo-versus-${randomBytes(6).toString("hex")}.`;
const embedded: Side = new EmbeddedBroker().connect();
let rabbit: RabbitSide;

beforeAll(async () => {
  const url = process.env.CONFLUO_TEST_BROKER_URL;
  if (url === undefined || url === "") {
    throw new Error("CONFLUO_TEST_BROKER_URL is not set: it must name a RabbitMQ to compare with, amqp://…");
  }
  rabbit = await RabbitSide.connect(url);
});

afterAll(async () => {
  await rabbit?.close();
});

class RabbitSide implements Side {
  readonly #connection: ChannelModel;
  readonly #channel: ConfirmChannel;
  readonly #queues = new Set<string>();
  readonly #exchanges = new Set<string>();
  readonly #returned = new Set<string>();
  #published = 0;

  private constructor(connection: ChannelModel, channel: ConfirmChannel) {
    this.#connection = connection;
    this.#channel = channel;
    channel.on("return", ({ properties }) => this.#returned.add(properties.messageId));
  }

  static async connect(url: string): Promise<RabbitSide> {
    const connection = await connect(url, { noDelay: true });
    return new RabbitSide(connection, await connection.createConfirmChannel());
  }

  async close(): Promise<void> {
    // Not the channel of the tests: what failed in them may have closed it.
    const channel = await this.#connection.createChannel();
    for (const queue of this.#queues) await channel.deleteQueue(queue);
    for (const exchange of this.#exchanges) await channel.deleteExchange(exchange);
    await this.#connection.close();
  }

  async declareExchange({
    name,
    type,
    arguments: args,
  }: Parameters<AmqpClient["declareExchange"]>[0]): Promise<void> {
    this.#exchanges.add(name);
    await this.#channel.assertExchange(name, type, { durable: true, arguments: args });
  }

  async declareQueue({
    name,
    arguments: args,
  }: {
    name: string;
    arguments: QueueArguments;
  }): Promise<string> {
    this.#queues.add(name);
    return (await this.#channel.assertQueue(name, { durable: true, arguments: args })).queue;
  }

  async bind(queue: string, exchange: string, key: string): Promise<void> {
    await this.#channel.bindQueue(queue, exchange, key);
  }

  async inspectQueue(name: string): Promise<QueueInfo> {
    const { messageCount, consumerCount } = await this.#channel.checkQueue(name);
    return { messages: messageCount, consumers: consumerCount };
  }

  publish(
    { exchange, key }: Route,
    { body, properties }: Message,
    settled: (failure?: PublishFailure) => void,
  ): void {
    this.#published += 1;
    const messageId = String(this.#published);
    this.#channel.publish(
      exchange,
      key,
      Buffer.from(body),
      { ...properties, messageId },
      (error: unknown) => {
        if (error) settled("refused");
        else if (this.#returned.has(messageId)) settled("returned");
        else settled();
      },
    );
  }

  async consume({ queue, prefetch, onDelivery }: ConsumeOptions): Promise<Consumer> {
    const channel = await this.#connection.createChannel();
    if (prefetch !== "no-ack") await channel.prefetch(prefetch);
    const onMessage = (message: ConsumeMessage | null): void => {
      if (message === null) return;
      const { exchange, routingKey: key, redelivered } = message.fields;
      const { expiration, deliveryMode, headers } = message.properties;
      const properties = Object.entries({ expiration, deliveryMode, headers }).filter(
        ([, value]) => value !== undefined,
      );
      onDelivery({
        message: { body: message.content, properties: Object.fromEntries(properties) },
        queue,
        exchange,
        key,
        redelivered,
        hold: "held",
        ack: () => channel.ack(message),
        requeue: () => channel.reject(message, true),
      });
    };
    const { consumerTag } = await channel.consume(queue, onMessage, { noAck: prefetch === "no-ack" });
    return {
      cancel: async () => void (await channel.cancel(consumerTag)),
      close: () => channel.close(),
    };
  }
}

/** One delivery as both sides can be compared by it. */
interface Seen {
  readonly text: string;
  readonly exchange: string;
  readonly key: string;
  readonly redelivered: boolean;
  readonly properties: Properties;
}

/** A consumer that keeps what it gets, and lets a scenario wait for it. */
class Inbox {
  readonly seen: Seen[] = [];
  readonly #deliveries: { ack(): void; requeue(): void }[] = [];
  readonly #waiting = new Set<() => void>();
  #consumer: Consumer | undefined;

  static async open(side: Side, queue: string, prefetch: number | "no-ack" = "no-ack"): Promise<Inbox> {
    const inbox = new Inbox();
    inbox.#consumer = await side.consume({
      queue,
      prefetch,
      onDelivery(delivery) {
        const { message, exchange, key, redelivered } = delivery;
        const { body, properties } = message;
        inbox.seen.push({ text: Buffer.from(body).toString(), exchange, key, redelivered, properties });
        inbox.#deliveries.push(delivery);
        for (const wake of inbox.#waiting) wake();
      },
      onCancelled() {},
    });
    return inbox;
  }

  /** Deliveries so far, in order, those delivered before marked with an apostrophe. */
  get texts(): string {
    return this.seen.map(({ text, redelivered }) => (redelivered ? `${text}'` : text)).join(" ");
  }

  get consumer(): Consumer {
    if (this.#consumer === undefined) throw new Error("The inbox is not open.");
    return this.#consumer;
  }

  delivery(index: number): { ack(): void; requeue(): void } {
    const delivery = this.#deliveries[index];
    if (delivery === undefined) throw new Error(`No delivery ${index} among ${this.texts}`);
    return delivery;
  }

  /** Resolves when `count` deliveries are here. */
  static async of(inboxes: readonly Inbox[], count: number): Promise<void> {
    const total = (): number => inboxes.reduce((sum, { seen }) => sum + seen.length, 0);
    if (total() >= count) return;
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        if (total() >= count) resolve();
      };
      for (const inbox of inboxes) inbox.#waiting.add(wake);
    });
  }

  async until(count: number): Promise<this> {
    await Inbox.of([this], count);
    return this;
  }
}

function publish(side: Side, route: Route, text: string, properties: Properties = {}) {
  return new Promise<PublishFailure | "taken">((resolve) => {
    side.publish(route, { body: Buffer.from(text), properties }, (failure) => resolve(failure ?? "taken"));
  });
}

/** Takes all that a queue holds, by consuming until a last message published to it comes. */
async function drain(side: Side, queue: string): Promise<string> {
  await publish(side, { exchange: "", key: queue }, "last");
  const inbox = await Inbox.open(side, queue);
  while (inbox.seen.at(-1)?.text !== "last") await inbox.until(inbox.seen.length + 1);
  await inbox.consumer.close();
  return inbox.texts;
}

/** One side, under names that no other scenario uses; on both sides the same. */
class Stage {
  readonly side: Side;
  readonly #prefix: string;

  constructor(side: Side, prefix: string) {
    this.side = side;
    this.#prefix = prefix;
  }

  name(label: string): string {
    return this.#prefix + label;
  }

  /** Arguments that dead-letter to the queue of that label. */
  deadLettering(label: string): QueueArguments {
    return { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": this.name(label) };
  }

  async declare(label: string, args: QueueArguments = {}): Promise<void> {
    await this.side.declareQueue({ name: this.name(label), arguments: args });
  }

  async declareExchange(
    label: string,
    type: "direct" | "topic" | "fanout",
    args: QueueArguments = {},
  ): Promise<void> {
    await this.side.declareExchange({ name: this.name(label), type, arguments: args });
  }

  async bind(queue: string, exchange: string, key: string): Promise<void> {
    await this.side.bind(this.name(queue), this.name(exchange), key);
  }

  publish(queue: string, text: string, properties?: Properties) {
    return publish(this.side, { exchange: "", key: this.name(queue) }, text, properties);
  }

  publishTo(exchange: string, key: string, properties?: Properties) {
    return publish(this.side, { exchange: this.name(exchange), key }, "x", properties);
  }

  open(queue: string, prefetch?: number): Promise<Inbox> {
    return Inbox.open(this.side, this.name(queue), prefetch);
  }

  /** The first `count` messages of a queue, with no consumer before. */
  async take(queue: string, count: number): Promise<Inbox> {
    return (await this.open(queue)).until(count);
  }

  async depth(queue: string): Promise<number | undefined> {
    return (await this.side.inspectQueue(this.name(queue)))?.messages;
  }

  drain(queue: string): Promise<string> {
    return drain(this.side, this.name(queue));
  }
}

function story({ text, properties }: Seen): unknown {
  const { headers, expiration, deliveryMode } = properties;
  const deaths = headers?.["x-death"] as Record<string, unknown>[];
  return {
    text,
    expiration,
    deliveryMode,
    mine: headers?.mine,
    deaths: deaths.map(({ time, ...death }) => death),
    first: [
      headers?.["x-first-death-queue"],
      headers?.["x-first-death-reason"],
      headers?.["x-first-death-exchange"],
    ],
  };
}

/** Each a fact about RabbitMQ that the embedded broker must share: a list of steps, and what came of them. */
const scenarios: Record<string, (stage: Stage) => Promise<unknown>> = {
  "a message expires at the head only: one due earlier waits behind one due later": async (stage) => {
    await stage.declare("dead");
    await stage.declare("q", stage.deadLettering("dead"));
    await stage.publish("q", "late", { expiration: "120" });
    await stage.publish("q", "early", { expiration: "1" });
    return (await stage.take("dead", 2)).texts;
  },
  "an expired message tells its story, the last death first, and loses its expiration": async (stage) => {
    await stage.declare("dead");
    await stage.declare("hop", { ...stage.deadLettering("dead"), "x-message-ttl": 20 });
    await stage.declare("q", stage.deadLettering("hop"));
    await stage.publish("q", "x", { expiration: "20", deliveryMode: 2, headers: { mine: "1" } });
    return (await stage.take("dead", 1)).seen.map(story);
  },
  "a dead letter goes to its exchange under its own key": async (stage) => {
    await stage.declare("dead");
    await stage.declare("q", { "x-dead-letter-exchange": stage.name("dlx"), "x-message-ttl": 20 });
    await stage.declareExchange("dlx", "direct");
    await stage.declareExchange("events", "topic");
    await stage.bind("q", "events", "#");
    await stage.bind("dead", "dlx", "a.b");
    await stage.publishTo("events", "a.b");
    const { seen } = await stage.take("dead", 1);
    return seen.map((each) => [each.exchange, each.key, each.redelivered, story(each)]);
  },
  "a message does not enter a queue that it died in": async (stage) => {
    await stage.declare("dead");
    await stage.declare("q", { "x-dead-letter-exchange": stage.name("dlx"), "x-message-ttl": 20 });
    await stage.declareExchange("dlx", "fanout");
    for (const queue of ["dead", "q"]) await stage.bind(queue, "dlx", "");
    await stage.publish("q", "x");
    await stage.take("dead", 1);
    return stage.depth("q");
  },
  "a full queue drops its oldest, which dies of maxlen": async (stage) => {
    await stage.declare("dead");
    await stage.declare("q", { ...stage.deadLettering("dead"), "x-max-length": 2 });
    for (const text of ["1", "2", "3"]) await stage.publish("q", text, { expiration: "60000" });
    const { seen } = await stage.take("dead", 1);
    return [seen.map(story), await stage.depth("q")];
  },
  "what consumers have room for does not count towards the maximum length": async (stage) => {
    await stage.declare("q", { "x-max-length": 2 });
    const inbox = await stage.open("q", 5);
    for (const text of "12345678") await stage.publish("q", text);
    await inbox.until(5);
    return [inbox.texts, await stage.depth("q"), (await stage.take("q", 2)).texts];
  },
  "what comes back to a full queue counts again": async (stage) => {
    await stage.declare("dead");
    await stage.declare("q", { ...stage.deadLettering("dead"), "x-max-length": 2 });
    const inbox = await stage.open("q", 2);
    for (const text of ["1", "2", "3", "4"]) await stage.publish("q", text);
    await inbox.until(2);
    await inbox.consumer.close();
    return (await stage.take("dead", 2)).seen.map(({ text }) => text).sort();
  },
  "a full queue may refuse publishes": async (stage) => {
    await stage.declare("q", { "x-max-length": 2, "x-overflow": "reject-publish" });
    const outcomes: string[] = [];
    for (const text of ["1", "2", "3"]) outcomes.push(await stage.publish("q", text, { mandatory: true }));
    return outcomes;
  },
  "a delivery limit of 2 makes three deliveries, counted in x-delivery-count": async (stage) => {
    await stage.declare("dead");
    await stage.declare("q", {
      ...stage.deadLettering("dead"),
      "x-queue-type": "quorum",
      "x-delivery-limit": 2,
    });
    const inbox = await stage.open("q", 1);
    await stage.publish("q", "x", { headers: { mine: "1" } });
    for (let count = 1; count <= 3; count += 1) (await inbox.until(count)).delivery(count - 1).requeue();
    const counts = inbox.seen.map(({ properties }) => properties.headers?.["x-delivery-count"]);
    return [inbox.texts, counts, (await stage.take("dead", 1)).seen.map(story)];
  },
  "a classic queue puts what comes back at its original position": async (stage) => {
    await stage.declare("q");
    const inbox = await stage.open("q", 4);
    for (const text of "123456") await stage.publish("q", text);
    await inbox.until(4);
    await inbox.consumer.cancel();
    for (const index of [2, 0, 3]) inbox.delivery(index).requeue();
    // Gives the last one back, and is the sign that the others have arrived.
    await inbox.consumer.close();
    return stage.drain("q");
  },
  "a queue's consumers take turns, each up to its prefetch": async (stage) => {
    await stage.declare("q");
    const inboxes: Inbox[] = [];
    for (const prefetch of [1, 2, 10]) inboxes.push(await stage.open("q", prefetch));
    for (const text of "01234567") await stage.publish("q", text);
    await Inbox.of(inboxes, 8);
    return inboxes.map(({ texts }) => texts);
  },
  "with an expiration of 0 only consumers with room get a message": async (stage) => {
    await stage.declare("dead");
    await stage.declare("q", stage.deadLettering("dead"));
    const inbox = await stage.open("q", 2);
    for (const text of "1234") await stage.publish("q", text, { expiration: "0" });
    await inbox.until(2);
    return [inbox.texts, (await stage.take("dead", 2)).texts];
  },
  "mandatory messages are returned when no queue takes them, not even by an alternate exchange": async (
    stage,
  ) => {
    await stage.declare("q");
    await stage.declareExchange("main", "direct", { "alternate-exchange": stage.name("orphans") });
    const outcomes: string[] = [];
    const publishAll = async (): Promise<void> => {
      for (const properties of [{ mandatory: true } as const, {}]) {
        outcomes.push(await stage.publish("nobody", "x", properties));
        outcomes.push(await stage.publishTo("main", "a", properties));
      }
    };
    await publishAll();
    await stage.declareExchange("orphans", "fanout");
    await publishAll();
    await stage.bind("q", "orphans", "");
    await publishAll();
    return [outcomes, await stage.drain("q")];
  },
};

test.each(Object.entries(scenarios))("on both: %s", async (title, run) => {
  const prefix = `${runPrefix}${Object.keys(scenarios).indexOf(title)}.`;
  const expected = await run(new Stage(rabbit, prefix));
  expect(await run(new Stage(embedded, prefix))).toEqual(expected);
});

test("on both: topic patterns match the same keys", async () => {
  const word = fc.constantFrom("", "a", "b", "%2E", "a%23", "*", "#");
  const words = fc.array(word, { maxLength: 5 }).map((list) => list.join("."));
  const wildcards = fc
    .array(fc.oneof(word, fc.constantFrom("*", "#")), { maxLength: 5 })
    .map((list) => list.join("."));
  // RabbitMQ 4.3 takes no more than two in a binding.
  const bindings = wildcards.filter(
    (pattern) => pattern.split(".").filter((each) => each === "#").length <= 2,
  );
  const patterns = fc.uniqueArray(bindings, { minLength: 1, maxLength: 30 });
  const keys = fc.uniqueArray(words, { minLength: 1, maxLength: 60 });
  let round = 0;
  await fc.assert(
    fc.asyncProperty(patterns, keys, async (somePatterns, someKeys) => {
      round += 1;
      const given = { patterns: somePatterns, keys: someKeys };
      const prefix = `${runPrefix}topic-${round}.`;
      const expected = await route(new Stage(rabbit, prefix), given);
      const actual = await route(new Stage(embedded, prefix), given);
      expect(actual).toEqual(expected);
    }),
    {
      numRuns: 20,
      examples: [
        [
          ["", "#", "*", "*.#", "#.*", "#.#", "*.*", "a.*.b"],
          ["", ".", "a", "a..b", "a.b"],
        ],
      ],
    },
  );
});

/** For each pattern, the keys that reached a queue bound by it. */
async function route(
  stage: Stage,
  { patterns, keys }: { patterns: readonly string[]; keys: readonly string[] },
): Promise<Record<string, string>> {
  const exchange = stage.name("exchange");
  await stage.declareExchange("exchange", "topic");
  await Promise.all(
    patterns.map(async (pattern) => {
      await stage.declare(pattern);
      await stage.bind(pattern, "exchange", pattern);
    }),
  );
  await Promise.all(keys.map((key) => publish(stage.side, { exchange, key }, JSON.stringify(key))));
  const reached = patterns.map(async (pattern) => [pattern, await stage.drain(pattern)] as const);
  return Object.fromEntries(await Promise.all(reached));
}
