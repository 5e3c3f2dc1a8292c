import { setImmediate } from "node:timers";
import { beforeEach, expect, test } from "vitest";
import type { AmqpClient, AmqpDelivery, Consumer, PublishFailure, QueueArguments } from "../amqp-client.ts";
import { EmbeddedBroker } from "./embedded-broker.ts";

let broker: EmbeddedBroker;
let client: AmqpClient;

beforeEach(() => {
  broker = new EmbeddedBroker();
  client = broker.connect();
});

async function turns(): Promise<void> {
  for (let i = 0; i < 5; i += 1) await new Promise((resolve) => setImmediate(resolve));
}

function publish(text: string): Promise<PublishFailure | undefined> {
  const message = { body: Buffer.from(text), properties: {} };
  return new Promise((resolve) => client.publish({ exchange: "", key: "q" }, message, resolve));
}

async function declare(texts: string, args: QueueArguments = {}): Promise<void> {
  await client.declareQueue({ name: "q", arguments: args });
  for (const text of texts) client.post("q", { body: Buffer.from(text), properties: {} });
}

async function consume(prefetch: number | "no-ack", onDelivery?: (delivery: AmqpDelivery) => void) {
  const received: AmqpDelivery[] = [];
  const consumer: Consumer = await client.consume({
    queue: "q",
    prefetch,
    onDelivery(delivery) {
      received.push(delivery);
      onDelivery?.(delivery);
    },
    onCancelled: () => {},
  });
  return { consumer, received };
}

/** Texts of deliveries, those delivered before marked with an apostrophe. */
function show(deliveries: readonly AmqpDelivery[]): string {
  return deliveries
    .map(({ message, redelivered }) => Buffer.from(message.body) + (redelivered ? "'" : ""))
    .join(" ");
}

function left(): string {
  const texts: string[] = [];
  for (let message = broker.take("q"); message !== undefined; message = broker.take("q")) {
    texts.push(Buffer.from(message.body).toString());
  }
  return texts.join(" ");
}

test("delivers in the order of publishing, also what was published after the consumer came", async () => {
  await declare("12");
  const { received } = await consume("no-ack");
  client.post("q", { body: Buffer.from("3"), properties: {} });
  await turns();
  client.post("q", { body: Buffer.from("4"), properties: {} });
  await turns();
  expect(show(received)).toBe("1 2 3 4");
});

test("delivers no more than the prefetch until something is settled", async () => {
  await declare("12345");
  const { received } = await consume(2);
  await turns();
  expect(show(received)).toBe("1 2");
  received[1]?.ack();
  await turns();
  expect(show(received)).toBe("1 2 3");
  expect(broker.queues()).toEqual([{ name: "q", messages: 2, unacked: 2, consumers: 1 }]);
});

test("a prefetch of 0 is no limit", async () => {
  await declare("12345");
  const { received } = await consume(0);
  await turns();
  expect(show(received)).toBe("1 2 3 4 5");
});

test("consumers take turns, each up to its prefetch", async () => {
  await declare("");
  const consumers = [await consume(1), await consume(2), await consume(10)];
  for (const text of "01234567") client.post("q", { body: Buffer.from(text), properties: {} });
  await turns();
  expect(consumers.map(({ received }) => show(received))).toEqual(["0", "1 3", "2 4 5 6 7"]);
  consumers[0]?.received[0]?.ack();
  for (const text of "89A") client.post("q", { body: Buffer.from(text), properties: {} });
  await turns();
  expect(consumers.map(({ received }) => show(received))).toEqual(["0 9", "1 3", "2 4 5 6 7 8 A"]);
});

test("no-ack deliveries are settled as they leave; settling them does nothing", async () => {
  await declare("1");
  const { consumer, received } = await consume("no-ack");
  await turns();
  expect(broker.queues()).toEqual([{ name: "q", messages: 0, unacked: 0, consumers: 1 }]);
  received[0]?.requeue();
  received[0]?.ack();
  await consumer.close();
  expect(broker.queues()).toEqual([{ name: "q", messages: 0, unacked: 0, consumers: 0 }]);
});

test("a message is settled once: what comes second does nothing", async () => {
  await declare("12");
  const { received } = await consume(2);
  await turns();
  received[0]?.ack();
  received[0]?.ack();
  received[0]?.requeue();
  await turns();
  expect(show(received)).toBe("1 2");
  expect(broker.queues()[0]?.unacked).toBe(1);
});

test("a classic queue puts what comes back at its original position", async () => {
  await declare("12345");
  const { consumer, received } = await consume(4);
  await turns();
  await consumer.cancel();
  for (const index of [2, 0, 3]) received[index]?.requeue();
  const second = await consume("no-ack");
  await turns();
  expect(show(second.received)).toBe("1' 3' 4' 5");
});

test("a quorum queue delivers what comes back first, in the order it did", async () => {
  await declare("12345", { "x-queue-type": "quorum" });
  const { consumer, received } = await consume(3);
  await turns();
  await consumer.cancel();
  received[2]?.requeue();
  received[0]?.requeue();
  const second = await consume("no-ack");
  await turns();
  expect(show(second.received)).toBe("3' 1' 4 5");
});

test("a requeued message goes to another consumer that has room before it comes round again", async () => {
  await declare("1");
  const first = await consume(1);
  await turns();
  const second = await consume(1);
  first.received[0]?.requeue();
  await turns();
  expect([show(first.received), show(second.received)]).toEqual(["1", "1'"]);
});

test.each(["classic", "quorum"])("a closed consumer gives all back in order (%s)", async (type) => {
  await declare("123456", { "x-queue-type": type });
  const { consumer, received } = await consume(4);
  await turns();
  received[1]?.ack();
  await consumer.close();
  const second = await consume("no-ack");
  await turns();
  expect(show(second.received)).toBe("1' 3' 4' 5' 6");
});

test("a quorum queue counts returns in x-delivery-count, which the first delivery lacks", async () => {
  await declare("1", { "x-queue-type": "quorum" });
  const { received } = await consume(1, (delivery) => {
    if (received.length < 3) delivery.requeue();
  });
  await turns();
  expect(received.map(({ message }) => message.properties.headers)).toEqual([
    undefined,
    { "x-delivery-count": 1 },
    { "x-delivery-count": 2 },
  ]);
});

test("a classic queue does not count returns", async () => {
  await declare("1");
  const { received } = await consume(1, (delivery) => {
    if (received.length < 3) delivery.requeue();
  });
  await turns();
  expect(received.map(({ message }) => message.properties)).toEqual([{}, {}, {}]);
});

test("a delivery limit of 2 makes three deliveries, then drops", async () => {
  await declare("1", { "x-queue-type": "quorum", "x-delivery-limit": 2 });
  const { received } = await consume(1, (delivery) => delivery.requeue());
  await turns();
  expect(show(received)).toBe("1 1' 1'");
  expect(broker.queues()).toEqual([{ name: "q", messages: 0, unacked: 0, consumers: 1 }]);
});

test.each([{ "x-queue-type": "quorum", "x-delivery-limit": -1 }, { "x-delivery-limit": 0 }])(
  "a delivery limit is none when negative or on a classic queue: %j",
  async (args) => {
    await declare("1", args);
    const { received } = await consume(1, (delivery) => {
      if (received.length < 4) delivery.requeue();
    });
    await turns();
    expect(received).toHaveLength(4);
  },
);

test("a full queue drops its oldest ready message", async () => {
  await declare("12345", { "x-max-length": 3 });
  expect(left()).toBe("3 4 5");
});

test("what consumers have room for never counts towards the maximum length", async () => {
  await declare("", { "x-max-length": 2 });
  const { received } = await consume(5);
  for (const text of "12345678") client.post("q", { body: Buffer.from(text), properties: {} });
  await turns();
  expect(show(received)).toBe("1 2 3 4 5");
  expect(left()).toBe("7 8");
});

test("what comes back to a full queue counts again", async () => {
  await declare("12", { "x-max-length": 2 });
  const { consumer } = await consume(2);
  await turns();
  for (const text of "34") client.post("q", { body: Buffer.from(text), properties: {} });
  await consumer.close();
  expect(left()).toBe("3 4");
});

test("a full queue that refuses publishes keeps what it has", async () => {
  await declare("", { "x-max-length": 2, "x-overflow": "reject-publish" });
  const outcomes = await Promise.all(["1", "2", "3"].map(publish));
  expect(outcomes).toEqual([undefined, undefined, "refused"]);
  expect(left()).toBe("1 2");
});

test("a message reaches the other queues when one of them refuses", async () => {
  await declare("1", { "x-max-length": 1, "x-overflow": "reject-publish" });
  await client.declareQueue({ name: "other", arguments: {} });
  await client.declareExchange({ name: "fanout", type: "fanout" });
  await client.bind("q", "fanout", "");
  await client.bind("other", "fanout", "");
  const failure = await new Promise((resolve) => {
    client.publish({ exchange: "fanout", key: "" }, { body: Buffer.from("2"), properties: {} }, resolve);
  });
  expect(failure).toBe("refused");
  expect(broker.take("other")?.body).toEqual(Buffer.from("2"));
});

test("receivers share one message object, and a redelivery does not change it", async () => {
  await client.declareQueue({ name: "q", arguments: { "x-queue-type": "quorum" } });
  const sent = { body: Buffer.from("1"), properties: Object.freeze({ headers: Object.freeze({ a: "b" }) }) };
  const { received } = await consume(1, (delivery) => {
    if (received.length < 2) delivery.requeue();
  });
  client.post("q", sent);
  await turns();
  expect(received[0]?.message).toBe(sent);
  expect(received[1]?.message.properties.headers).toEqual({ a: "b", "x-delivery-count": 1 });
  expect(sent.properties).toEqual({ headers: { a: "b" } });
});
