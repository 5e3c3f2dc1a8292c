import { setImmediate } from "node:timers";
import { beforeEach, expect, test, vi } from "vitest";
import type { Properties } from "../../protocol/message.ts";
import type { AmqpClient, AmqpDelivery, PublishFailure } from "../amqp-client.ts";
import { EmbeddedBroker } from "./embedded-broker.ts";

let broker: EmbeddedBroker;
let client: AmqpClient;

beforeEach(async () => {
  broker = new EmbeddedBroker({ maxMessageBytes: 10 });
  client = broker.connect();
  await client.declareQueue({ name: "q", arguments: {} });
});

async function turns(): Promise<void> {
  for (let i = 0; i < 3; i += 1) await new Promise((resolve) => setImmediate(resolve));
}

function publish(exchange: string, key: string, options: { bytes?: number; properties?: Properties } = {}) {
  const message = { body: new Uint8Array(options.bytes ?? 1), properties: options.properties ?? {} };
  return new Promise<PublishFailure | undefined>((resolve) =>
    client.publish({ exchange, key }, message, resolve),
  );
}

async function consume(from: AmqpClient, prefetch: number | "no-ack" = 10) {
  const received: AmqpDelivery[] = [];
  const onDelivery = (delivery: AmqpDelivery): void => void received.push(delivery);
  const onCancelled = vi.fn();
  await from.consume({ queue: "q", prefetch, onDelivery, onCancelled });
  return { received, onCancelled };
}

test("a publish is settled without a failure once a queue has it", async () => {
  expect(await publish("", "q")).toBeUndefined();
  expect(await client.inspectQueue("q")).toEqual({ messages: 1, consumers: 0 });
});

test("settled is called once, and never inside publish", async () => {
  const settled = vi.fn();
  client.publish({ exchange: "", key: "q" }, { body: new Uint8Array(), properties: {} }, settled);
  await Promise.resolve();
  expect(settled).not.toHaveBeenCalled();
  await turns();
  expect(settled.mock.calls).toEqual([[]]);
});

test("what no queue takes is returned if mandatory, else taken", async () => {
  await client.declareExchange({ name: "x", type: "topic" });
  const properties = { mandatory: true } as const;
  expect(await publish("", "nobody", { properties })).toBe("returned");
  expect(await publish("x", "nobody", { properties })).toBe("returned");
  expect(await publish("", "nobody")).toBeUndefined();
  expect(await publish("x", "nobody")).toBeUndefined();
});

test("a publish to an exchange that does not exist is lost", async () => {
  expect(await publish("missing", "q")).toBe("lost");
});

test("a body over the limit is too large, also when posted", async () => {
  expect(await publish("", "q", { bytes: 10 })).toBeUndefined();
  expect(await publish("", "q", { bytes: 11 })).toBe("too-large");
  client.post("q", { body: new Uint8Array(11), properties: {} });
  expect(broker.queues()[0]?.messages).toBe(1);
});

test("a body may have 16 MiB unless told otherwise", async () => {
  const roomy = new EmbeddedBroker().connect();
  const sizes = [16 * 1024 * 1024, 16 * 1024 * 1024 + 1];
  const outcomes = sizes.map((bytes) => {
    const message = { body: new Uint8Array(bytes), properties: {} };
    return new Promise((resolve) => roomy.publish({ exchange: "", key: "q" }, message, resolve));
  });
  expect(await Promise.all(outcomes)).toEqual([undefined, "too-large"]);
});

test("a delivery says where it was published, and mandatory does not travel", async () => {
  const { received } = await consume(client);
  const properties = { type: "/a", mandatory: true } as const;
  await publish("", "q", { properties });
  await turns();
  expect(received).toMatchObject([{ exchange: "", key: "q", redelivered: false }]);
  expect(received[0]?.message.properties).toEqual({ type: "/a" });
});

test("a post to nobody is gone", () => {
  client.post("nobody", { body: new Uint8Array(), properties: {} });
  expect(broker.queues()).toEqual([{ name: "q", messages: 0, unacked: 0, consumers: 0 }]);
});

test("settled may throw: the process hears of it, and the others are settled", async () => {
  const thrown = catchUncaught();
  client.publish({ exchange: "", key: "q" }, { body: new Uint8Array(), properties: {} }, () => {
    throw new Error("from settled");
  });
  expect(await publish("", "q")).toBeUndefined();
  await turns();
  expect(await thrown).toEqual(new Error("from settled"));
});

test("close settles what was published, then resolves lost with undefined", async () => {
  const outcomes = Array.from({ length: 1000 }, () => publish("", "q"));
  const order: string[] = [];
  void Promise.all(outcomes).then(() => order.push("settled"));
  await client.close().then(() => order.push("closed"));
  await turns();
  expect(order).toEqual(["settled", "closed"]);
  expect(new Set(await Promise.all(outcomes))).toEqual(new Set([undefined]));
  expect(await client.lost).toBeUndefined();
});

test("closing twice is closing once", async () => {
  await Promise.all([client.close(), client.close()]);
  await client.close();
  expect(await client.lost).toBeUndefined();
});

test("close gives back what is unacknowledged", async () => {
  const { received } = await consume(client);
  await publish("", "q");
  await turns();
  expect(received).toHaveLength(1);
  await client.close();
  expect(broker.queues()).toEqual([{ name: "q", messages: 1, unacked: 0, consumers: 0 }]);
  received[0]?.ack();
  expect(broker.queues()).toEqual([{ name: "q", messages: 1, unacked: 0, consumers: 0 }]);
});

test("after close everything fails with CONNECTION_LOST, and publishes are lost", async () => {
  await client.close();
  const attempts = [
    client.declareQueue({ name: "r", arguments: {} }),
    client.declareExchange({ name: "x", type: "topic" }),
    client.bind("q", "x", ""),
    client.unbind("q", "x", ""),
    client.inspectQueue("q"),
    consume(client),
  ];
  for (const attempt of attempts) await expect(attempt).rejects.toMatchObject({ code: "CONNECTION_LOST" });
  expect(await publish("", "q")).toBe("lost");
  client.post("q", { body: new Uint8Array(), properties: {} });
  expect(broker.queues()[0]?.messages).toBe(0);
});

test("disconnect resolves lost with the reason and loses what was not confirmed yet", async () => {
  const outcome = publish("", "q");
  broker.disconnect(client, "pulled the plug");
  expect(await outcome).toBe("lost");
  expect(await client.lost).toMatchObject({ code: "CONNECTION_LOST", message: "pulled the plug" });
  await client.close();
  expect(await publish("", "q")).toBe("lost");
});

test("disconnect gives back what is unacknowledged, handed out or not, as redelivered", async () => {
  const { received, onCancelled } = await consume(client);
  await publish("", "q");
  await turns();
  client.post("q", { body: new Uint8Array([2]), properties: {} });
  broker.disconnect(client);
  const second = await consume(broker.connect());
  await turns();
  expect(received).toHaveLength(1);
  expect(onCancelled).not.toHaveBeenCalled();
  expect(second.received.map(({ redelivered }) => redelivered)).toEqual([true, true]);
});

test("disconnect takes the wire's exclusive queues and leaves other wires alone", async () => {
  const other = broker.connect();
  await client.declareQueue({ name: "", exclusive: true, arguments: {} });
  await other.declareQueue({ name: "", exclusive: true, arguments: {} });
  broker.disconnect(client);
  expect(broker.queues()).toHaveLength(2);
  expect(await other.inspectQueue("q")).toEqual({ messages: 0, consumers: 0 });
});

test("disconnect refuses a wire that is not the broker's kind", () => {
  expect(() => broker.disconnect({} as AmqpClient)).toThrow("client must be a client of an embedded broker");
});

test.each([-1, 1.5, 65_536, Number.NaN])("a prefetch of %d is refused", async (prefetch) => {
  await expect(consume(client, prefetch)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
});

test.each([0, -1, 1.5, Number.NaN])("a maxMessageBytes of %d is refused", (maxMessageBytes) => {
  expect(() => new EmbeddedBroker({ maxMessageBytes })).toThrow("maxMessageBytes must be");
});

function catchUncaught(): Promise<unknown> {
  const listeners = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  return new Promise((resolve) => {
    process.once("uncaughtException", (error) => {
      for (const listener of listeners) process.on("uncaughtException", listener);
      resolve(error);
    });
  });
}

test("a deleted queue is gone with what was in it, and its consumers hear of it", async () => {
  await publish("", "q");
  const { onCancelled } = await consume(client);
  await client.deleteQueue("q");
  await client.deleteQueue("q");
  await client.deleteQueue("never");
  await turns();
  expect(onCancelled).toHaveBeenCalledTimes(1);
  expect(await client.inspectQueue("q")).toBeUndefined();
  expect(await publish("", "q", { properties: { mandatory: true } })).toBe("returned");
});

test("another connection's exclusive queue cannot be deleted", async () => {
  const name = await broker.connect().declareQueue({ name: "", exclusive: true, arguments: {} });
  await expect(client.deleteQueue(name)).rejects.toMatchObject({ code: "ACCESS_REFUSED" });
});
