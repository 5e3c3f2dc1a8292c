import { setImmediate } from "node:timers";
import { beforeEach, expect, test, vi } from "vitest";
import type { AmqpClient, AmqpDelivery } from "../amqp-client.ts";
import { EmbeddedBroker } from "./embedded-broker.ts";

let broker: EmbeddedBroker;
let client: AmqpClient;

beforeEach(async () => {
  broker = new EmbeddedBroker();
  client = broker.connect();
  await client.declareQueue({ name: "q", arguments: {} });
});

async function turns(): Promise<void> {
  for (let i = 0; i < 5; i += 1) await new Promise((resolve) => setImmediate(resolve));
}

function post(count: number): void {
  for (let i = 0; i < count; i += 1) client.post("q", { body: new Uint8Array([i]), properties: {} });
}

async function consume(prefetch: number | "no-ack", act?: (delivery: AmqpDelivery) => void) {
  const received: AmqpDelivery[] = [];
  const onCancelled = vi.fn();
  const onDelivery = (delivery: AmqpDelivery): void => {
    received.push(delivery);
    act?.(delivery);
  };
  return {
    consumer: await client.consume({ queue: "q", prefetch, onDelivery, onCancelled }),
    received,
    onCancelled,
  };
}

test("delivers nothing before consume has resolved", async () => {
  post(1);
  const onDelivery = vi.fn();
  const consuming = client.consume({ queue: "q", prefetch: 1, onDelivery, onCancelled: () => {} });
  expect(onDelivery).not.toHaveBeenCalled();
  await consuming;
  expect(onDelivery).not.toHaveBeenCalled();
  await turns();
  expect(onDelivery).toHaveBeenCalledOnce();
});

test("cancel resolves when the last delivery made before it was handed out, and more do not come", async () => {
  post(1000);
  const { consumer, received } = await consume(600);
  await consumer.cancel();
  expect(received).toHaveLength(600);
  received[0]?.ack();
  await turns();
  expect(received).toHaveLength(600);
  expect(broker.queues()).toEqual([{ name: "q", messages: 400, unacked: 599, consumers: 0 }]);
});

test("cancel leaves deliveries that can still be settled either way", async () => {
  post(2);
  const { consumer, received } = await consume(2);
  await turns();
  await consumer.cancel();
  received[0]?.ack();
  received[1]?.requeue();
  expect(broker.queues()).toEqual([{ name: "q", messages: 1, unacked: 0, consumers: 0 }]);
});

test("what a cancelled consumer did not settle comes back with its wire's end", async () => {
  post(2);
  const { consumer } = await consume(2);
  await consumer.cancel();
  await client.close();
  expect(broker.queues()).toEqual([{ name: "q", messages: 2, unacked: 0, consumers: 0 }]);
});

test("close after cancel gives the rest back; both may be called again", async () => {
  post(2);
  const { consumer } = await consume(2);
  await consumer.cancel();
  await consumer.cancel();
  await consumer.close();
  await consumer.close();
  await consumer.cancel();
  expect(broker.queues()).toEqual([{ name: "q", messages: 2, unacked: 0, consumers: 0 }]);
});

test("close takes back what was not handed out yet", async () => {
  post(2);
  const { consumer, received } = await consume(2);
  await consumer.close();
  await turns();
  expect(received).toEqual([]);
  expect(broker.queues()[0]?.messages).toBe(2);
});

test("a close ends a cancel that waits", async () => {
  post(2);
  const { consumer } = await consume(2);
  const cancelling = consumer.cancel();
  await consumer.close();
  await cancelling;
});

test("settling after close does nothing", async () => {
  post(1);
  const { consumer, received } = await consume(1);
  await turns();
  await consumer.close();
  received[0]?.ack();
  received[0]?.requeue();
  expect(broker.queues()).toEqual([{ name: "q", messages: 1, unacked: 0, consumers: 0 }]);
});

test("a deleted queue cancels its consumers, once, after what they had been given", async () => {
  post(600);
  const order: string[] = [];
  await client.consume({
    queue: "q",
    prefetch: "no-ack",
    onDelivery: () => order.push("delivery"),
    onCancelled: (reason) => order.push(`${reason.code}: ${reason.message}`),
  });
  expect(broker.deleteQueue("q")).toBe(true);
  expect(order).toEqual([]);
  await turns();
  expect(order).toHaveLength(601);
  expect(order.at(-1)).toBe('UNAVAILABLE: The queue "q" was deleted.');
  expect(broker.deleteQueue("q")).toBe(false);
});

test("settling what came from a deleted queue does nothing, also to a new queue of that name", async () => {
  post(3);
  const { received } = await consume(3);
  const cancelled = await consume(1);
  await turns();
  await cancelled.consumer.cancel();
  broker.deleteQueue("q");
  await client.declareQueue({ name: "q", arguments: {} });
  received[0]?.requeue();
  received[1]?.ack();
  cancelled.received[0]?.requeue();
  expect(broker.queues()).toEqual([{ name: "q", messages: 0, unacked: 0, consumers: 0 }]);
});

test("a consumer that its wire's close ended is not told of its queue's deletion", async () => {
  const { onCancelled } = await consume(1);
  await client.close();
  broker.deleteQueue("q");
  await turns();
  expect(onCancelled).not.toHaveBeenCalled();
});

test("a handler may publish, settle, cancel and delete as it runs", async () => {
  post(3);
  const { received, consumer } = await consume(1, (delivery) => {
    if (received.length === 1) post(1);
    if (received.length === 2) void consumer.cancel();
    delivery.ack();
  });
  await turns();
  expect(received).toHaveLength(2);
  await consume("no-ack", () => broker.deleteQueue("q"));
  await turns();
  expect(broker.queues()).toEqual([]);
});

test("a handler that answers itself for ever does not starve the event loop", async () => {
  const { received, consumer } = await consume(1, (delivery) => {
    delivery.ack();
    post(1);
  });
  post(1);
  // The broker's first turn, which a timer may overtake; then the timer that must not be starved.
  await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setTimeout(resolve, 0));
  await consumer.close();
  expect(received.length).toBeGreaterThan(0);
});

test("onDelivery may throw: the process hears of it, and the others are delivered", async () => {
  const listeners = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  const heard = new Promise((resolve) => process.once("uncaughtException", resolve));
  post(2);
  const { received } = await consume(2, () => {
    if (received.length === 1) throw new Error("from onDelivery");
  });
  await turns();
  for (const listener of listeners) process.on("uncaughtException", listener);
  expect(await heard).toEqual(new Error("from onDelivery"));
  expect(received).toHaveLength(2);
  expect(broker.queues()[0]?.unacked).toBe(2);
});
