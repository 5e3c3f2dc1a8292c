/** The RabbitMQ that the tests run on, and namespaces of their own on it. */

import { randomBytes } from "node:crypto";
import { connect } from "amqplib";
import { Broker, type BrokerOptions } from "../../src/index.ts";
import { Namespace } from "../../src/protocol/topology.ts";

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

/** Deletes whatever a namespace holds: its own exchanges and queues, and those of the services named. */
export async function deleteNamespace(name: string, services: Iterable<string>): Promise<void> {
  const namespace = new Namespace(name);
  const connection = await connect(testBrokerUrl());
  try {
    const channel = await connection.createChannel();
    const queues = [...services].flatMap((service) => [
      ...namespace.callQueues(service),
      ...namespace.durableQueues(service),
    ]);
    for (const queue of [...queues, ...namespace.sharedQueues()]) await channel.deleteQueue(queue.name);
    for (const exchange of namespace.exchanges()) await channel.deleteExchange(exchange.name);
  } finally {
    await connection.close();
  }
}
