/** The RabbitMQ that the tests run on, and namespaces of their own on it. */

import { randomBytes } from "node:crypto";
import { type Channel, connect } from "amqplib";
import { Broker, type BrokerOptions } from "../../src/index.ts";
import { allLevels, levelExchanges, levelQueues, returnedQueue } from "../../src/protocol/delays.ts";
import { LEVELS, Namespace } from "../../src/protocol/topology.ts";

/** URL of the RabbitMQ under test. Never skips: without one the test run itself is wrong. */
export function testBrokerUrl(): string {
  const url = process.env.CONFLUO_TEST_BROKER_URL;
  if (url === undefined || url === "") {
    throw new Error(
      "CONFLUO_TEST_BROKER_URL is not set: run the tests with `npm test`, which brings a RabbitMQ.",
    );
  }
  return url;
}

/** A broker in a namespace that nothing else uses. */
export function freshBroker(options: BrokerOptions = {}): Broker {
  return new Broker(testBrokerUrl(), { namespace: `t${randomBytes(6).toString("hex")}`, ...options });
}

/** Deletes the queues of services, and nothing that others in their namespace may share. */
export async function deleteServices(name: string, services: Iterable<string>): Promise<void> {
  const namespace = new Namespace(name);
  await administer(async (channel) => {
    for (const service of services) {
      for (const queue of [...namespace.callQueues(service), ...namespace.durableQueues(service)]) {
        await channel.deleteQueue(queue.name);
      }
    }
  });
}

/** Deletes whatever a namespace holds: its own exchanges and queues, and those of the services named. */
export async function deleteNamespace(name: string, services: Iterable<string>): Promise<void> {
  const namespace = new Namespace(name);
  await deleteServices(name, services);
  await administer(async (channel) => {
    const all = 2 ** LEVELS - 1;
    const queues = [...namespace.sharedQueues(), ...levelQueues(namespace, all)];
    const returned = allLevels(namespace).map((_, level) => returnedQueue(namespace, level));
    const exchanges = [...levelExchanges(namespace, all), ...namespace.exchanges()];
    await Promise.all([
      ...[...queues, ...returned].map(({ name: queue }) => channel.deleteQueue(queue)),
      ...exchanges.map(({ name: exchange }) => channel.deleteExchange(exchange)),
    ]);
  });
}

async function administer(work: (channel: Channel) => Promise<void>): Promise<void> {
  const connection = await connect(testBrokerUrl());
  // What fails rejects the work; amqplib says it a second time by an event, which would end the process.
  connection.on("error", () => undefined);
  try {
    const channel = await connection.createChannel();
    channel.on("error", () => undefined);
    await work(channel);
  } finally {
    await connection.close();
  }
}
