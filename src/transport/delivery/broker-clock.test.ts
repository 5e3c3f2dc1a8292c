import { expect, it, vi } from "vitest";
import type { AmqpClient, ConsumeOptions } from "../amqp-client.ts";
import { fakeClient } from "../session/fake-client.test-support.ts";
import { BrokerClock } from "./broker-clock.ts";

/** A connection whose broker's clock says a number of seconds to whoever has a message die. */
function clientAt(seconds: unknown, own: Partial<AmqpClient> = {}) {
  let consumer: ConsumeOptions | undefined;
  const asked: object[] = [];
  const closed = vi.fn(async () => undefined);
  const client = fakeClient({
    declareQueue: async (spec) => {
      asked.push(spec.arguments);
      return `q${asked.length}`;
    },
    consume: async (options) => {
      consumer = options;
      return { cancel: async () => undefined, close: closed };
    },
    publish: ({ key }, message, settled) => {
      settled();
      const headers = { "x-death": [{ queue: key, time: { "!": "timestamp", value: seconds } }] };
      const properties = { ...message.properties, headers };
      const settle = { ack: () => undefined, requeue: () => undefined, hold: "released" as const };
      const delivery = { message: { ...message, properties }, exchange: "", key: "q1", redelivered: false };
      setImmediate(() => consumer?.onDelivery({ ...delivery, queue: consumer.queue, ...settle }));
    },
    ...own,
  });
  return { client, asked, closed };
}

it("tells how long ago something was, to the second and never more", async () => {
  const { client, asked, closed } = clientAt(1_000);
  const clock = new BrokerClock();
  const ages = await Promise.all([990, 999, 1_000, 1_005].map((seconds) => clock.since(seconds, client)));
  const [long = 0, ...short] = ages;
  expect(long).toBeGreaterThanOrEqual(9_000);
  expect(long).toBeLessThan(9_900);
  for (const age of short) expect(age).toBeLessThan(900);
  // Asked once for all, and not again for what comes later.
  expect(asked).toHaveLength(2);
  expect(asked[1]).toMatchObject({ "x-message-ttl": 0, "x-dead-letter-routing-key": "q1" });
  await clock.since(990, client);
  expect(asked).toHaveLength(2);
  expect(closed).toHaveBeenCalledTimes(1);
  // Another connection may be one to another broker.
  const other = clientAt(2_000);
  expect(await clock.since(1_990, other.client)).toBeGreaterThanOrEqual(9_000);
});

it("knows of no time where the broker does not tell it", async () => {
  for (const { client } of [
    clientAt("soon"),
    clientAt(1_000, { declareQueue: () => Promise.reject(new Error("refused")) }),
    clientAt(1_000, { publish: (_route, _message, settled) => void setImmediate(settled, "lost") }),
  ])
    expect(await new BrokerClock().since(1, client)).toBe(0);
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  try {
    const silent = clientAt(1_000, { publish: () => undefined });
    const age = new BrokerClock().since(1, silent.client);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(await age).toBe(0);
    await vi.waitFor(() => expect(silent.closed).toHaveBeenCalledTimes(1));
  } finally {
    vi.useRealTimers();
  }
});

it("leaves no queue behind and does not ask again soon where it is refused", async () => {
  const deleteQueue = vi.fn(async () => 0);
  const { client, asked } = clientAt(1_000, {
    consume: () => Promise.reject(new Error("refused")),
    deleteQueue,
  });
  const clock = new BrokerClock();
  for (let n = 0; n < 3; n += 1) expect(await clock.since(990, client)).toBe(0);
  await vi.waitFor(() => expect(deleteQueue).toHaveBeenCalledTimes(2));
  expect(asked).toHaveLength(2);
});
