import { beforeEach, expect, test } from "vitest";
import type { Properties } from "../../protocol/message.ts";
import type { AmqpClient, PublishFailure } from "../amqp-client.ts";
import { EmbeddedBroker } from "./embedded-broker.ts";

let broker: EmbeddedBroker;
let client: AmqpClient;

beforeEach(async () => {
  broker = new EmbeddedBroker();
  client = broker.connect();
  for (const name of ["one", "two", "three"]) await client.declareQueue({ name, arguments: {} });
});

function publish(
  exchange: string,
  key: string,
  properties: Properties = {},
): Promise<PublishFailure | undefined> {
  return new Promise((resolve) => {
    client.publish({ exchange, key }, { body: new Uint8Array(1), properties }, resolve);
  });
}

async function receivers(exchange: string, key: string): Promise<string[]> {
  await publish(exchange, key);
  const before = broker.queues().filter((queue) => queue.messages > 0);
  for (const queue of before) while (broker.take(queue.name) !== undefined);
  return before.flatMap((queue) => Array<string>(queue.messages).fill(queue.name));
}

test("the default exchange routes to the queue named by the key", async () => {
  expect(await receivers("", "two")).toEqual(["two"]);
  expect(await receivers("", "nothing")).toEqual([]);
});

test("a direct exchange routes to every queue bound with exactly the key", async () => {
  await client.declareExchange({ name: "direct", type: "direct" });
  await client.bind("one", "direct", "a");
  await client.bind("two", "direct", "a");
  await client.bind("three", "direct", "#");
  expect(await receivers("direct", "a")).toEqual(["one", "two"]);
  expect(await receivers("direct", "b")).toEqual([]);
});

test("a fanout exchange routes to every bound queue, whatever the keys", async () => {
  await client.declareExchange({ name: "fanout", type: "fanout" });
  await client.bind("one", "fanout", "a");
  await client.bind("two", "fanout", "b");
  expect(await receivers("fanout", "c")).toEqual(["one", "two"]);
});

test("a topic exchange routes by pattern", async () => {
  await client.declareExchange({ name: "topic", type: "topic" });
  await client.bind("one", "topic", "order.*.placed");
  await client.bind("two", "topic", "order.#");
  await client.bind("three", "topic", "#.paid");
  expect(await receivers("topic", "order.1.placed")).toEqual(["one", "two"]);
  expect(await receivers("topic", "order.1.paid")).toEqual(["two", "three"]);
});

test("a queue with several matching bindings gets one copy", async () => {
  await client.declareExchange({ name: "topic", type: "topic" });
  await client.declareExchange({ name: "fanout", type: "fanout" });
  for (const key of ["a.b", "a.*", "#"]) {
    await client.bind("one", "topic", key);
    await client.bind("one", "fanout", key);
  }
  expect(await receivers("topic", "a.b")).toEqual(["one"]);
  expect(await receivers("fanout", "a.b")).toEqual(["one"]);
});

test("a queue stays bound until its last binding is gone, and unbinding what is not bound does nothing", async () => {
  for (const type of ["direct", "topic", "fanout"] as const) {
    await client.declareExchange({ name: type, type });
    await client.bind("one", type, "a");
    await client.bind("one", type, "a");
    await client.bind("one", type, "b");
    await client.unbind("one", type, "b");
    await client.unbind("one", type, "b");
    expect(await receivers(type, "a")).toEqual(["one"]);
    await client.unbind("one", type, "a");
    expect(await receivers(type, "a")).toEqual([]);
  }
  await client.unbind("missing", "topic", "a");
  await client.unbind("one", "missing", "a");
});

test("a binding made after a key was routed counts for that key too", async () => {
  await client.declareExchange({ name: "topic", type: "topic" });
  await client.bind("one", "topic", "a.*");
  expect(await receivers("topic", "a.b")).toEqual(["one"]);
  await client.bind("two", "topic", "a.b");
  expect(await receivers("topic", "a.b")).toEqual(["one", "two"]);
  await client.unbind("one", "topic", "a.*");
  expect(await receivers("topic", "a.b")).toEqual(["two"]);
});

test("a deleted queue loses its bindings, and a new one of its name does not inherit them", async () => {
  await client.declareExchange({ name: "topic", type: "topic" });
  await client.bind("one", "topic", "#");
  broker.deleteQueue("one");
  await client.declareQueue({ name: "one", arguments: {} });
  expect(await receivers("topic", "a")).toEqual([]);
});

test("what an exchange cannot route goes to its alternate exchange", async () => {
  await client.declareExchange({ name: "orphans", type: "fanout" });
  await client.declareExchange({
    name: "main",
    type: "direct",
    arguments: { "alternate-exchange": "orphans" },
  });
  await client.bind("one", "main", "a");
  await client.bind("two", "orphans", "");
  expect(await receivers("main", "a")).toEqual(["one"]);
  expect(await receivers("main", "b")).toEqual(["two"]);
});

test("a mandatory message taken by an alternate exchange is not returned", async () => {
  await client.declareExchange({ name: "orphans", type: "fanout" });
  await client.declareExchange({
    name: "main",
    type: "direct",
    arguments: { "alternate-exchange": "orphans" },
  });
  expect(await publish("main", "b", { mandatory: true })).toBe("returned");
  await client.bind("two", "orphans", "");
  expect(await publish("main", "b", { mandatory: true })).toBeUndefined();
});

test("alternate exchanges that are missing, or name each other in a circle, end the search", async () => {
  await client.declareExchange({ name: "a", type: "direct", arguments: { "alternate-exchange": "b" } });
  expect(await publish("a", "x", { mandatory: true })).toBe("returned");
  await client.declareExchange({ name: "b", type: "direct", arguments: { "alternate-exchange": "a" } });
  expect(await publish("a", "x", { mandatory: true })).toBe("returned");
});

test("a topic binding may have two # and no more, as on RabbitMQ 4.3", async () => {
  await client.declareExchange({ name: "topic", type: "topic" });
  await client.bind("one", "topic", "#.a.#");
  await expect(client.bind("two", "topic", "#.a.#.b.#")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  expect(await receivers("topic", "a.b")).toEqual(["one"]);
});

test("an exchange passes what matches to the exchange bound to it, and each queue gets it once", async () => {
  await client.declareExchange({ name: "below", type: "topic" });
  const passesTo = { exchange: "below", key: "*.0.#" };
  await client.declareExchange({ name: "above", type: "topic", passesTo });
  await client.declareExchange({ name: "above", type: "topic", passesTo });
  await client.bind("one", "above", "*.1.#");
  await client.bind("two", "below", "*.*.two");
  await client.bind("two", "above", "1.*.two");
  expect(await receivers("above", "0.1.two")).toEqual(["one"]);
  expect(await receivers("above", "0.0.two")).toEqual(["two"]);
  expect(await receivers("above", "1.0.two")).toEqual(["two"]);
  expect(await receivers("above", "0.0.nobody")).toEqual([]);
});

test("what an exchange got from another and cannot route goes to its own alternate exchange", async () => {
  await client.declareExchange({ name: "orphans", type: "fanout" });
  await client.bind("three", "orphans", "");
  await client.declareExchange({
    name: "due",
    type: "topic",
    arguments: { "alternate-exchange": "orphans" },
  });
  await client.declareExchange({ name: "wait", type: "topic", passesTo: { exchange: "due", key: "0.#" } });
  await client.bind("one", "due", "*.one");
  expect(await receivers("wait", "0.one")).toEqual(["one"]);
  expect(await receivers("wait", "0.gone")).toEqual(["three"]);
  expect(await publish("wait", "1.one", { mandatory: true })).toBe("returned");
});

test("exchanges that pass to each other in a circle route a message once", async () => {
  await client.declareExchange({ name: "a", type: "topic" });
  await client.declareExchange({ name: "b", type: "topic", passesTo: { exchange: "a", key: "#" } });
  await client.declareExchange({ name: "a", type: "topic", passesTo: { exchange: "b", key: "#" } });
  await client.bind("one", "a", "#");
  await client.bind("one", "b", "#");
  expect(await receivers("a", "x")).toEqual(["one"]);
});

test("an exchange cannot pass to one that does not exist", async () => {
  const passesTo = { exchange: "nowhere", key: "#" };
  await expect(client.declareExchange({ name: "a", type: "topic", passesTo })).rejects.toMatchObject({
    code: "UNAVAILABLE",
  });
});
