import { beforeEach, expect, test } from "vitest";
import type { Properties } from "../../protocol/message.ts";
import type { AmqpClient, PublishFailure } from "../wire.ts";
import { EmbeddedBroker } from "./embedded-broker.ts";

let broker: EmbeddedBroker;
let wire: AmqpClient;

beforeEach(async () => {
  broker = new EmbeddedBroker();
  wire = broker.connect();
  for (const name of ["one", "two", "three"]) await wire.declareQueue({ name, arguments: {} });
});

function publish(
  exchange: string,
  key: string,
  properties: Properties = {},
): Promise<PublishFailure | undefined> {
  return new Promise((resolve) => {
    wire.publish({ exchange, key }, { body: new Uint8Array(1), properties }, resolve);
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
  await wire.declareExchange({ name: "direct", type: "direct" });
  await wire.bind("one", "direct", "a");
  await wire.bind("two", "direct", "a");
  await wire.bind("three", "direct", "#");
  expect(await receivers("direct", "a")).toEqual(["one", "two"]);
  expect(await receivers("direct", "b")).toEqual([]);
});

test("a fanout exchange routes to every bound queue, whatever the keys", async () => {
  await wire.declareExchange({ name: "fanout", type: "fanout" });
  await wire.bind("one", "fanout", "a");
  await wire.bind("two", "fanout", "b");
  expect(await receivers("fanout", "c")).toEqual(["one", "two"]);
});

test("a topic exchange routes by pattern", async () => {
  await wire.declareExchange({ name: "topic", type: "topic" });
  await wire.bind("one", "topic", "order.*.placed");
  await wire.bind("two", "topic", "order.#");
  await wire.bind("three", "topic", "#.paid");
  expect(await receivers("topic", "order.1.placed")).toEqual(["one", "two"]);
  expect(await receivers("topic", "order.1.paid")).toEqual(["two", "three"]);
});

test("a queue with several matching bindings gets one copy", async () => {
  await wire.declareExchange({ name: "topic", type: "topic" });
  await wire.declareExchange({ name: "fanout", type: "fanout" });
  for (const key of ["a.b", "a.*", "#"]) {
    await wire.bind("one", "topic", key);
    await wire.bind("one", "fanout", key);
  }
  expect(await receivers("topic", "a.b")).toEqual(["one"]);
  expect(await receivers("fanout", "a.b")).toEqual(["one"]);
});

test("a queue stays bound until its last binding is gone, and unbinding what is not bound does nothing", async () => {
  for (const type of ["direct", "topic", "fanout"] as const) {
    await wire.declareExchange({ name: type, type });
    await wire.bind("one", type, "a");
    await wire.bind("one", type, "a");
    await wire.bind("one", type, "b");
    await wire.unbind("one", type, "b");
    await wire.unbind("one", type, "b");
    expect(await receivers(type, "a")).toEqual(["one"]);
    await wire.unbind("one", type, "a");
    expect(await receivers(type, "a")).toEqual([]);
  }
  await wire.unbind("missing", "topic", "a");
  await wire.unbind("one", "missing", "a");
});

test("a binding made after a key was routed counts for that key too", async () => {
  await wire.declareExchange({ name: "topic", type: "topic" });
  await wire.bind("one", "topic", "a.*");
  expect(await receivers("topic", "a.b")).toEqual(["one"]);
  await wire.bind("two", "topic", "a.b");
  expect(await receivers("topic", "a.b")).toEqual(["one", "two"]);
  await wire.unbind("one", "topic", "a.*");
  expect(await receivers("topic", "a.b")).toEqual(["two"]);
});

test("a deleted queue loses its bindings, and a new one of its name does not inherit them", async () => {
  await wire.declareExchange({ name: "topic", type: "topic" });
  await wire.bind("one", "topic", "#");
  broker.deleteQueue("one");
  await wire.declareQueue({ name: "one", arguments: {} });
  expect(await receivers("topic", "a")).toEqual([]);
});

test("what an exchange cannot route goes to its alternate exchange", async () => {
  await wire.declareExchange({ name: "orphans", type: "fanout" });
  await wire.declareExchange({
    name: "main",
    type: "direct",
    arguments: { "alternate-exchange": "orphans" },
  });
  await wire.bind("one", "main", "a");
  await wire.bind("two", "orphans", "");
  expect(await receivers("main", "a")).toEqual(["one"]);
  expect(await receivers("main", "b")).toEqual(["two"]);
});

test("a mandatory message taken by an alternate exchange is not returned", async () => {
  await wire.declareExchange({ name: "orphans", type: "fanout" });
  await wire.declareExchange({
    name: "main",
    type: "direct",
    arguments: { "alternate-exchange": "orphans" },
  });
  expect(await publish("main", "b", { mandatory: true })).toBe("returned");
  await wire.bind("two", "orphans", "");
  expect(await publish("main", "b", { mandatory: true })).toBeUndefined();
});

test("alternate exchanges that are missing, or name each other in a circle, end the search", async () => {
  await wire.declareExchange({ name: "a", type: "direct", arguments: { "alternate-exchange": "b" } });
  expect(await publish("a", "x", { mandatory: true })).toBe("returned");
  await wire.declareExchange({ name: "b", type: "direct", arguments: { "alternate-exchange": "a" } });
  expect(await publish("a", "x", { mandatory: true })).toBe("returned");
});

test("a topic binding may have two # and no more, as on RabbitMQ 4.3", async () => {
  await wire.declareExchange({ name: "topic", type: "topic" });
  await wire.bind("one", "topic", "#.a.#");
  await expect(wire.bind("two", "topic", "#.a.#.b.#")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  expect(await receivers("topic", "a.b")).toEqual(["one"]);
});
