import { setImmediate } from "node:timers";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { delayRoute, levelExchanges, levelQueues, levelsOf } from "../../protocol/delays.ts";
import type { Message, Properties } from "../../protocol/message.ts";
import { LEVELS, Namespace } from "../../protocol/topology.ts";
import type { AmqpClient, AmqpDelivery, QueueArguments } from "../amqp-client.ts";
import { declareExchanges, declare as declareQueue, declareQueues } from "../queues/declare.ts";
import { EmbeddedBroker } from "./embedded-broker.ts";

const nowMs = Date.UTC(2030, 0, 1);
const time = { "!": "timestamp", value: nowMs / 1000 };
const toDead = { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead" };
const atLeastOnce = {
  "x-queue-type": "quorum",
  "x-dead-letter-strategy": "at-least-once",
  "x-overflow": "reject-publish",
};

let broker: EmbeddedBroker;
let client: AmqpClient;

beforeEach(async () => {
  vi.useFakeTimers({ now: nowMs });
  broker = new EmbeddedBroker();
  client = broker.connect();
  await client.declareQueue({ name: "dead", arguments: {} });
});

afterEach(() => {
  vi.useRealTimers();
});

async function turns(): Promise<void> {
  for (let i = 0; i < 5; i += 1) await new Promise((resolve) => setImmediate(resolve));
}

async function declare(name: string, args: QueueArguments): Promise<void> {
  await client.declareQueue({ name, arguments: args });
}

function post(queue: string, text: string, properties: Properties = {}): void {
  client.post(queue, { body: Buffer.from(text), properties });
}

function textOf(message: Message | undefined): string | undefined {
  return message === undefined ? undefined : Buffer.from(message.body).toString();
}

function depths(): Record<string, number> {
  return Object.fromEntries(broker.queues().map(({ name, messages }) => [name, messages]));
}

test("an expired message moves on with its story, without its expiration, and otherwise as it was", async () => {
  await declare("q", toDead);
  const properties: Properties = { type: "/a", deliveryMode: 2, expiration: "50", headers: { mine: "1" } };
  post("q", "x", properties);
  vi.advanceTimersByTime(50);
  expect(broker.take("dead")).toEqual({
    body: Buffer.from("x"),
    properties: {
      type: "/a",
      deliveryMode: 2,
      headers: {
        mine: "1",
        "x-death": [
          {
            count: 1,
            reason: "expired",
            queue: "q",
            time,
            exchange: "",
            "routing-keys": ["q"],
            "original-expiration": "50",
          },
        ],
        "x-first-death-exchange": "",
        "x-first-death-queue": "q",
        "x-first-death-reason": "expired",
        "x-last-death-exchange": "",
        "x-last-death-queue": "q",
        "x-last-death-reason": "expired",
      },
    },
  });
  expect(properties.expiration).toBe("50");
});

test("a queue's time to live leaves no original-expiration", async () => {
  await declare("q", { ...toDead, "x-message-ttl": 50 });
  post("q", "x");
  vi.advanceTimersByTime(50);
  const death = { count: 1, reason: "expired", queue: "q", time, exchange: "", "routing-keys": ["q"] };
  expect(broker.take("dead")?.properties.headers?.["x-death"]).toEqual([death]);
});

test("what a full queue drops dies of maxlen, and loses its expiration too", async () => {
  await declare("q", { ...toDead, "x-max-length": 1 });
  post("q", "old", { expiration: "1000" });
  post("q", "new");
  const dead = broker.take("dead");
  expect(textOf(dead)).toBe("old");
  expect(dead?.properties.expiration).toBeUndefined();
  expect(dead?.properties.headers?.["x-death"]).toMatchObject([
    { reason: "maxlen", "original-expiration": "1000" },
  ]);
});

test("a message returned once more than the delivery limit dies of delivery_limit", async () => {
  await declare("q", { ...toDead, "x-queue-type": "quorum", "x-delivery-limit": 2 });
  post("q", "x", { headers: { mine: "1" } });
  const onDelivery = vi.fn((delivery: AmqpDelivery) => delivery.requeue());
  await client.consume({ queue: "q", prefetch: 1, onDelivery, onCancelled: () => {} });
  await turns();
  expect(onDelivery).toHaveBeenCalledTimes(3);
  const headers = broker.take("dead")?.properties.headers;
  expect(headers).toMatchObject({
    mine: "1",
    "x-death": [{ count: 1, reason: "delivery_limit", queue: "q" }],
  });
  expect(headers).not.toHaveProperty("x-delivery-count");
});

test("a message that dies twice tells of the last death first", async () => {
  await declare("second", { ...toDead, "x-message-ttl": 1000 });
  await declare("first", {
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": "second",
    "x-message-ttl": 1000,
  });
  post("first", "x");
  vi.advanceTimersByTime(2000);
  const headers = broker.take("dead")?.properties.headers;
  expect(headers?.["x-death"]).toMatchObject([
    { queue: "second", time: { value: time.value + 2 } },
    { queue: "first", time: { value: time.value + 1 } },
  ]);
  expect(headers).toMatchObject({ "x-first-death-queue": "first", "x-last-death-queue": "second" });
});

test("a publisher's own x-death is replaced", async () => {
  await declare("q", toDead);
  post("q", "x", {
    expiration: "1",
    headers: { "x-death": [{ queue: "q", count: 7 }], "x-first-death-queue": "z" },
  });
  vi.advanceTimersByTime(1);
  const headers = broker.take("dead")?.properties.headers;
  expect(headers).toMatchObject({ "x-death": [{ count: 1 }], "x-first-death-queue": "q" });
});

test("a dead letter keeps its key unless the queue has another for it", async () => {
  await client.declareExchange({ name: "dlx", type: "direct" });
  await client.declareExchange({ name: "events", type: "topic" });
  await declare("q", { "x-dead-letter-exchange": "dlx", "x-message-ttl": 10 });
  await client.bind("q", "events", "#");
  await client.bind("dead", "dlx", "a.b");
  const received: AmqpDelivery[] = [];
  const onDelivery = (delivery: AmqpDelivery): void => void received.push(delivery);
  await client.consume({ queue: "dead", prefetch: "no-ack", onDelivery, onCancelled: () => {} });
  client.publish({ exchange: "events", key: "a.b" }, { body: new Uint8Array(), properties: {} }, () => {});
  vi.advanceTimersByTime(10);
  await turns();
  expect(received).toMatchObject([{ exchange: "dlx", key: "a.b", redelivered: false }]);
  const story = received[0]?.message.properties.headers?.["x-death"];
  expect(story).toMatchObject([{ exchange: "events", "routing-keys": ["a.b"] }]);
});

test("without a dead-letter exchange, or with one that does not exist, it is gone", async () => {
  await declare("q", { "x-message-ttl": 10 });
  await declare("r", { "x-message-ttl": 10, "x-dead-letter-exchange": "missing" });
  post("q", "x");
  post("r", "x");
  vi.advanceTimersByTime(10);
  expect(depths()).toEqual({ dead: 0, q: 0, r: 0 });
});

test("a message does not enter a queue that it died in", async () => {
  await declare("self", { "x-message-ttl": 10, "x-dead-letter-exchange": "" });
  await declare("a", { "x-message-ttl": 10, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "b" });
  await declare("b", { "x-message-ttl": 10, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "a" });
  post("self", "x");
  post("a", "x");
  vi.advanceTimersByTime(100);
  expect(depths()).toEqual({ dead: 0, self: 0, a: 0, b: 0 });
});

test("what a deleted or expired queue held is not dead-lettered", async () => {
  await declare("q", toDead);
  await declare("r", { ...toDead, "x-expires": 10 });
  post("q", "x");
  post("r", "x");
  broker.deleteQueue("q");
  vi.advanceTimersByTime(10);
  expect(depths()).toEqual({ dead: 0 });
});

test.each<[string, () => Promise<unknown>]>([
  ["the queue appears", () => declare("later", {})],
  [
    "the exchange gets a binding",
    async () => {
      await client.declareExchange({ name: "dlx", type: "fanout" });
      await client.bind("dead", "dlx", "");
    },
  ],
])("at least once: a dead letter without a target waits until %s", async (_, mend) => {
  const direct = { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "later" };
  await declare("q", { ...atLeastOnce, ...direct, "x-message-ttl": 10 });
  await declare("r", { ...atLeastOnce, "x-dead-letter-exchange": "dlx", "x-message-ttl": 10 });
  post("q", "1");
  post("q", "2");
  post("r", "1");
  post("r", "2");
  vi.advanceTimersByTime(10);
  expect(depths()).toEqual({ dead: 0, q: 0, r: 0 });
  await mend();
  const target = depths().later === undefined ? "dead" : "later";
  expect([textOf(broker.take(target)), textOf(broker.take(target)), broker.take(target)]).toEqual([
    "1",
    "2",
    undefined,
  ]);
});

test("at least once: a full target gets it later, and one that took it does not get it twice", async () => {
  await client.declareExchange({ name: "dlx", type: "fanout" });
  await declare("full", { "x-max-length": 1, "x-overflow": "reject-publish" });
  for (const target of ["full", "dead"]) await client.bind(target, "dlx", "");
  await declare("q", { ...atLeastOnce, "x-dead-letter-exchange": "dlx", "x-message-ttl": 10 });
  post("full", "0");
  post("q", "1");
  vi.advanceTimersByTime(10);
  expect(depths()).toMatchObject({ full: 1, dead: 1 });
  broker.take("full");
  post("q", "2");
  vi.advanceTimersByTime(10);
  broker.take("full");
  await declare("change", {});
  expect(depths()).toMatchObject({ full: 1, dead: 2 });
});

test("at least once needs a quorum queue that refuses publishes, else dead letters are dropped", async () => {
  await declare("q", {
    ...atLeastOnce,
    "x-overflow": "drop-head",
    "x-dead-letter-exchange": "dlx",
    "x-message-ttl": 10,
  });
  post("q", "1");
  vi.advanceTimersByTime(10);
  await client.declareExchange({ name: "dlx", type: "fanout" });
  await client.bind("dead", "dlx", "");
  expect(depths()).toEqual({ dead: 0, q: 0 });
});

test("messages wait as many quarters of a second as their digits say, up to 194 days, never less", async () => {
  const namespace = new Namespace("c");
  const all = 2 ** LEVELS - 1;
  await declareExchanges(client, [...namespace.exchanges(), ...levelExchanges(namespace, all)]);
  await declareQueues(client, [...namespace.sharedQueues(), ...levelQueues(namespace, all)]);
  const [dead, inbox] = namespace.durableQueues("s");
  for (const plan of [dead, inbox]) if (plan !== undefined) await declareQueue(client, plan);
  const waits = [1, 2, 3, 5, 240, 28_800, 2 ** 25, 0b10101010101010101010101010, all];
  for (const quarters of waits) {
    const route = delayRoute(namespace, quarters, "c.s.inbox");
    const message = { body: Buffer.from(String(quarters)), properties: { mandatory: true } } as const;
    client.publish(route, message, (failure) => expect(failure).toBeUndefined());
  }
  let now = 0;
  for (const quarters of waits.toSorted((a, b) => a - b)) {
    vi.advanceTimersByTime(quarters * 250 - 1 - now);
    expect(broker.take("c.s.inbox")).toBeUndefined();
    vi.advanceTimersByTime(1);
    now = quarters * 250;
    const due = broker.take("c.s.inbox");
    expect(textOf(due)).toBe(String(quarters));
    expect(due?.properties.headers?.["x-death"]).toHaveLength(levelsOf(quarters).length);
  }
  expect(depths()["c.orphans"]).toBe(0);
});
