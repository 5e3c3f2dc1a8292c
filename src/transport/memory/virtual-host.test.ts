import { beforeEach, expect, test } from "vitest";
import { isConfluoError } from "../../errors.ts";
import type { AmqpClient, QueueArguments } from "../amqp-client.ts";
import { EmbeddedBroker } from "./embedded-broker.ts";

let broker: EmbeddedBroker;
let client: AmqpClient;

beforeEach(() => {
  broker = new EmbeddedBroker();
  client = broker.connect();
});

async function failureOf(promise: Promise<unknown>) {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!isConfluoError(error)) throw new Error("Expected a rejection with a ConfluoError.", { cause: error });
  return { code: error.code, message: error.message };
}

test("declaring what exists with equal arguments is fine", async () => {
  for (let i = 0; i < 2; i += 1) {
    await client.declareExchange({ name: "x", type: "topic", arguments: { "alternate-exchange": "y" } });
    expect(await client.declareQueue({ name: "q", arguments: { "x-message-ttl": 5 } })).toBe("q");
  }
});

test("a queue without a type is a classic one", async () => {
  await client.declareQueue({ name: "q", arguments: {} });
  await client.declareQueue({ name: "q", arguments: { "x-queue-type": "classic" } });
});

test.each<[QueueArguments, QueueArguments, string]>([
  [{ "x-message-ttl": 5 }, { "x-message-ttl": 6 }, "with x-message-ttl 5, and this declare asks for 6"],
  [{ "x-message-ttl": 5 }, {}, "with x-message-ttl 5, and this declare asks for unset"],
  [
    {},
    { "x-queue-leader-locator": "balanced" },
    'with x-queue-leader-locator unset, and this declare asks for "balanced"',
  ],
  [{}, { "x-queue-type": "quorum" }, 'with x-queue-type "classic", and this declare asks for "quorum"'],
])("a queue that exists with other arguments is a conflict: %j, %j", async (existing, declared, text) => {
  await client.declareQueue({ name: "q", arguments: existing });
  const failure = await failureOf(client.declareQueue({ name: "q", arguments: declared }));
  expect(failure.code).toBe("TOPOLOGY_CONFLICT");
  expect(failure.message).toContain(`The queue "q" exists ${text}.`);
});

test("a queue that exists with another exclusivity is a conflict", async () => {
  await client.declareQueue({ name: "q", arguments: {} });
  const failure = await failureOf(client.declareQueue({ name: "q", exclusive: true, arguments: {} }));
  expect(failure.code).toBe("TOPOLOGY_CONFLICT");
  expect(failure.message).toContain("with exclusive false, and this declare asks for true");
});

test("an exchange that exists with another type or other arguments is a conflict", async () => {
  await client.declareExchange({ name: "x", type: "topic" });
  const type = await failureOf(client.declareExchange({ name: "x", type: "direct" }));
  expect(type.code).toBe("TOPOLOGY_CONFLICT");
  expect(type.message).toContain(
    'The exchange "x" exists with type "topic", and this declare asks for "direct".',
  );
  const other = { name: "x", type: "topic", arguments: { "alternate-exchange": "y" } } as const;
  expect((await failureOf(client.declareExchange(other))).message).toContain("alternate-exchange unset");
});

test("a conflict carries the entity, the argument and both values as data", async () => {
  await client.declareQueue({ name: "q", arguments: { "x-max-length": 1 } });
  const data = { entity: "queue", name: "q", argument: "x-max-length", existing: 1, declared: 2 };
  const declared = client.declareQueue({ name: "q", arguments: { "x-max-length": 2 } });
  await expect(declared).rejects.toMatchObject({ data });
});

test.each<QueueArguments>([
  { "x-message-ttl": -5 },
  { "x-message-ttl": 1.5 },
  { "x-message-ttl": "5" },
  { "x-expires": 0 },
  { "x-queue-type": "stream" },
  { "x-overflow": "reject-publish-dlx" },
  { "x-dead-letter-exchange": 5 },
  { "x-dead-letter-routing-key": "without an exchange" },
])("an argument that RabbitMQ refuses or this broker does not model is refused: %j", async (args) => {
  expect((await failureOf(client.declareQueue({ name: "q", arguments: args }))).code).toBe(
    "INVALID_ARGUMENT",
  );
  expect(broker.queues()).toEqual([]);
});

test("an exclusive quorum queue is refused", async () => {
  const declared = client.declareQueue({
    name: "",
    exclusive: true,
    arguments: { "x-queue-type": "quorum" },
  });
  expect((await failureOf(declared)).code).toBe("INVALID_ARGUMENT");
});

test("names that start with amq. and the default exchange are the broker's own", async () => {
  await client.declareQueue({ name: "q", arguments: {} });
  const attempts = [
    client.declareQueue({ name: "amq.mine", arguments: {} }),
    client.declareExchange({ name: "amq.mine", type: "topic" }),
    client.declareExchange({ name: "", type: "direct" }),
    client.bind("q", "", "key"),
    client.unbind("q", "", "key"),
  ];
  for (const attempt of attempts) expect((await failureOf(attempt)).code).toBe("ACCESS_REFUSED");
});

test("what does not exist is named when it is bound or consumed, and undefined when inspected", async () => {
  await client.declareQueue({ name: "q", arguments: {} });
  const consume = { queue: "missing", prefetch: 1, onDelivery: () => {}, onCancelled: () => {} };
  const noQueue = { code: "UNAVAILABLE", message: 'There is no queue "missing": declare it first.' };
  expect(await failureOf(client.consume(consume))).toEqual(noQueue);
  expect(await failureOf(client.bind("missing", "x", ""))).toEqual(noQueue);
  expect(await failureOf(client.bind("q", "x", ""))).toEqual({
    ...noQueue,
    message: 'There is no exchange "x": declare it first.',
  });
  expect(await client.inspectQueue("missing")).toBeUndefined();
  expect(() => broker.take("missing")).toThrow(noQueue.message);
});

test("the broker names an exclusive queue, each one differently", async () => {
  const names = [0, 1].map(() => client.declareQueue({ name: "", exclusive: true, arguments: {} }));
  const [first, second] = await Promise.all(names);
  expect(first).toMatch(/^amq\.gen-[\w-]{22}$/);
  expect(second).not.toBe(first);
});

test("only its wire may use an exclusive queue, but anyone may publish to it", async () => {
  const name = await client.declareQueue({ name: "", exclusive: true, arguments: {} });
  const other = broker.connect();
  await other.declareExchange({ name: "x", type: "fanout" });
  const attempts = [
    other.consume({ queue: name, prefetch: 1, onDelivery: () => {}, onCancelled: () => {} }),
    other.declareQueue({ name, exclusive: true, arguments: {} }),
    other.bind(name, "x", ""),
    other.unbind(name, "x", ""),
    other.inspectQueue(name),
  ];
  for (const attempt of attempts) expect((await failureOf(attempt)).code).toBe("ACCESS_REFUSED");
  await client.bind(name, "x", "");
  other.post(name, { body: new Uint8Array(), properties: {} });
  expect(await client.inspectQueue(name)).toEqual({ messages: 1, consumers: 0 });
});

test("an exclusive queue and its bindings go with its wire", async () => {
  const name = await client.declareQueue({ name: "", exclusive: true, arguments: {} });
  await client.close();
  expect(broker.queues()).toEqual([]);
  expect(await broker.connect().inspectQueue(name)).toBeUndefined();
});

test("two brokers know nothing of each other", async () => {
  await client.declareQueue({ name: "q", arguments: {} });
  expect(await new EmbeddedBroker().connect().inspectQueue("q")).toBeUndefined();
});
