import { setImmediate } from "node:timers";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { AmqpClient, AmqpDelivery, PublishFailure, QueueArguments } from "../amqp-client.ts";
import { EmbeddedBroker } from "./embedded-broker.ts";

let broker: EmbeddedBroker;
let client: AmqpClient;

beforeEach(() => {
  vi.useFakeTimers();
  broker = new EmbeddedBroker();
  client = broker.connect();
});

afterEach(() => {
  vi.useRealTimers();
});

test("a wait that goes on elsewhere holds the process while a client is connected, an expiry does not", async () => {
  vi.useRealTimers();
  const timers = vi.spyOn(globalThis, "setTimeout");
  const held = (): boolean[] => timers.mock.results.map(({ value }) => (value as NodeJS.Timeout).hasRef());
  try {
    await declare();
    post("expires", "60000");
    expect(held()).toEqual([false]);
    timers.mockClear();
    await client.declareQueue({
      name: "delay",
      arguments: { "x-message-ttl": 60_000, "x-dead-letter-exchange": "back" },
    });
    client.post("delay", { body: Buffer.from("waits"), properties: {} });
    expect(held()).toEqual([true]);
    const other = broker.connect();
    await client.close();
    expect(held()).toEqual([true]);
    broker.disconnect(other);
    expect(held()).toEqual([false]);
    client = broker.connect();
    expect(held()).toEqual([true]);
    await client.deleteQueue("delay");
    await client.deleteQueue("q");
  } finally {
    timers.mockRestore();
  }
});

async function turns(): Promise<void> {
  for (let i = 0; i < 3; i += 1) await new Promise((resolve) => setImmediate(resolve));
}

async function declare(args: QueueArguments = {}): Promise<void> {
  await client.declareQueue({ name: "q", arguments: args });
}

function post(text: string, expiration?: string): void {
  client.post("q", { body: Buffer.from(text), properties: expiration === undefined ? {} : { expiration } });
}

async function consume(prefetch: number | "no-ack") {
  const received: AmqpDelivery[] = [];
  const onDelivery = (delivery: AmqpDelivery): void => void received.push(delivery);
  const consumer = await client.consume({ queue: "q", prefetch, onDelivery, onCancelled: () => {} });
  return {
    consumer,
    texts: () => received.map(({ message }) => Buffer.from(message.body).toString()),
    received,
  };
}

function depth(): number | undefined {
  return broker.queues()[0]?.messages;
}

test("a message is gone once its expiration is over, and not a millisecond before", async () => {
  await declare();
  post("1", "100");
  vi.advanceTimersByTime(99);
  expect(depth()).toBe(1);
  vi.advanceTimersByTime(1);
  expect(depth()).toBe(0);
});

test("a queue's time to live expires its messages", async () => {
  await declare({ "x-message-ttl": 100 });
  post("1");
  vi.advanceTimersByTime(50);
  post("2");
  vi.advanceTimersByTime(50);
  expect(depth()).toBe(1);
  vi.advanceTimersByTime(50);
  expect(depth()).toBe(0);
});

test.each([
  ["50", 100],
  ["100", 50],
])("of expiration %s and time to live %i, the lesser counts", async (expiration, ttl) => {
  await declare({ "x-message-ttl": ttl });
  post("1", expiration);
  vi.advanceTimersByTime(50);
  expect(depth()).toBe(0);
});

test("only the head expires: what is due behind it waits for it", async () => {
  await declare();
  post("1", "100");
  post("2", "10");
  post("3");
  vi.advanceTimersByTime(50);
  expect(depth()).toBe(3);
  vi.advanceTimersByTime(50);
  expect(depth()).toBe(1);
});

test("a message that was due behind the head goes as soon as the head is taken", async () => {
  await declare();
  post("1", "1000");
  post("2", "10");
  vi.advanceTimersByTime(50);
  expect(broker.take("q")?.body).toEqual(Buffer.from("1"));
  vi.advanceTimersByTime(1);
  expect(depth()).toBe(0);
});

test("an expired message is never delivered", async () => {
  await declare();
  post("1");
  post("2", "10");
  post("3");
  vi.advanceTimersByTime(50);
  const { texts } = await consume("no-ack");
  await turns();
  expect(texts()).toEqual(["1", "3"]);
});

test("a delivered message does not expire before it comes back", async () => {
  await declare();
  post("1", "10");
  const { consumer, received } = await consume(1);
  await turns();
  vi.advanceTimersByTime(50);
  expect(broker.queues()[0]?.unacked).toBe(1);
  await consumer.cancel();
  received[0]?.requeue();
  vi.advanceTimersByTime(1);
  expect(depth()).toBe(0);
});

test("with an expiration of 0 only consumers with room get a message", async () => {
  await declare();
  const { texts } = await consume(2);
  for (const text of "1234") post(text, "0");
  await turns();
  vi.advanceTimersByTime(1);
  expect(texts()).toEqual(["1", "2"]);
  expect(depth()).toBe(0);
});

test.each(["12.5", "-1", "1e12", "", "soon", "4294967296", Object.create(null) as never])(
  "a publish with expiration %j is lost",
  async (expiration) => {
    await declare();
    const failure = await new Promise<PublishFailure | undefined>((resolve) => {
      client.publish(
        { exchange: "", key: "q" },
        { body: new Uint8Array(), properties: { expiration } },
        resolve,
      );
    });
    expect(failure).toBe("lost");
    expect(depth()).toBe(0);
  },
);

test("expiries beyond the reach of a timer are no expiry at once", async () => {
  await declare({ "x-expires": 4_294_967_295 });
  post("1", "4294967295");
  vi.advanceTimersByTime(2 ** 31);
  expect(depth()).toBe(1);
  vi.advanceTimersByTime(2 ** 31);
  expect(broker.queues()).toEqual([]);
});

test("one timer serves a queue of any length", async () => {
  await declare();
  for (let i = 1; i <= 100; i += 1) post("x", String(1000 + i));
  expect(vi.getTimerCount()).toBe(1);
  vi.advanceTimersByTime(1100);
  expect(depth()).toBe(0);
  expect(vi.getTimerCount()).toBe(0);
});

test("a deleted queue leaves no timer behind", async () => {
  await declare({ "x-expires": 1000 });
  post("1", "1000");
  broker.deleteQueue("q");
  expect(vi.getTimerCount()).toBe(0);
});

test("an unused queue is removed after x-expires, messages and all", async () => {
  await declare({ "x-expires": 100 });
  vi.advanceTimersByTime(90);
  post("1");
  vi.advanceTimersByTime(9);
  expect(depth()).toBe(1);
  vi.advanceTimersByTime(1);
  expect(broker.queues()).toEqual([]);
});

test.each<[string, () => unknown]>([
  ["declaring it again", () => client.declareQueue({ name: "q", arguments: { "x-expires": 100 } })],
  ["inspecting it", () => client.inspectQueue("q")],
  ["taking from it", () => broker.take("q")],
])("%s puts x-expires off", async (_, use) => {
  await declare({ "x-expires": 100 });
  vi.advanceTimersByTime(60);
  await use();
  vi.advanceTimersByTime(99);
  expect(broker.queues()).toHaveLength(1);
  vi.advanceTimersByTime(1);
  expect(broker.queues()).toHaveLength(0);
});

test("a queue with a consumer does not expire; its time starts when the last one leaves", async () => {
  await declare({ "x-expires": 100 });
  vi.advanceTimersByTime(60);
  const first = await consume(1);
  const second = await consume(1);
  vi.advanceTimersByTime(1000);
  await first.consumer.close();
  vi.advanceTimersByTime(1000);
  await second.consumer.cancel();
  vi.advanceTimersByTime(99);
  expect(broker.queues()).toHaveLength(1);
  vi.advanceTimersByTime(1);
  expect(broker.queues()).toHaveLength(0);
});
