/** A queue that takes nothing, and what waits behind it: told by health and by the doctor. */

import { afterEach, expect, it } from "vitest";
import { type AmqpClient, type Broker, Service, ServiceError, silentLogger } from "../src/index.ts";
import { delayRoute, levelExchanges, levelQueues } from "../src/protocol/delays.ts";
import { anyDigits, Namespace } from "../src/protocol/topology.ts";
import { eventually } from "../src/testing/index.ts";
import { declareExchanges, declareQueues } from "../src/transport/queues/declare.ts";
import { runCommand } from "./support/command-line.ts";
import { deleteNamespace, freshBroker, testBrokerUrl } from "./support/rabbitmq.ts";

const cleanUp: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

const LEVEL = 0;
const LEVEL_MS = 250;
/** More than RabbitMQ has under way to where they return. */
const MANY = 40;

/** Has more wait in the shortest level than its way back takes, for a queue that refuses them all. */
async function standStill(broker: Broker, wire: AmqpClient): Promise<void> {
  const { namespace } = broker;
  const queue = `${namespace}.full`;
  await wire.declareQueue({
    name: queue,
    arguments: { "x-queue-type": "classic", "x-max-length": 0, "x-overflow": "reject-publish" },
  });
  cleanUp.push(() => wire.deleteQueue(queue));
  await wire.bind(queue, `${namespace}.due`, `${anyDigits}${queue}`);
  const message = { body: new Uint8Array(0), properties: { deliveryMode: 2 } } as const;
  const topology = new Namespace(namespace);
  await declareExchanges(wire, levelExchanges(topology, 1 << LEVEL));
  await declareQueues(wire, levelQueues(topology, 1 << LEVEL));
  const route = delayRoute(topology, 1 << LEVEL, queue);
  await Promise.all(
    Array.from({ length: MANY }, () => {
      return new Promise((resolve) => wire.publish(route, message, resolve));
    }),
  );
}

it("is seen by an instance whose retries wait there, and by the doctor", { timeout: 60_000 }, async () => {
  const broker = freshBroker({ logger: silentLogger });
  cleanUp.push(() => deleteNamespace(broker.namespace, ["retrying", "client"]));
  let tries = 0;
  const retrying = new Service("retrying", { broker, logger: silentLogger }).route("/task", () => {
    tries += 1;
    throw new ServiceError("busy", { retry: { afterMs: LEVEL_MS } });
  });
  const client = new Service("client", { broker, logger: silentLogger });
  await Promise.all([retrying.connect(), client.connect()]);
  cleanUp.push(() => Promise.all([retrying.shutdown({ timeoutMs: 500 }), client.shutdown()]));
  const wire = await broker.openClient();
  cleanUp.push(() => wire.close());
  await standStill(broker, wire);
  await client.send("retrying", "/task");
  await eventually(() => retrying.health().status === "degraded", "the standstill", { timeoutMs: 30_000 });
  const delay = `${broker.namespace}.wait.${LEVEL}`;
  expect(retrying.health()).toMatchObject({ state: "running", detached: [], stalled: [delay] });
  expect(client.health()).toMatchObject({ status: "healthy" });
  expect(client.health()).not.toHaveProperty("stalled");
  expect(tries).toBe(1);
  const env = { CONFLUO_BROKER: testBrokerUrl(), CONFLUO_NAMESPACE: broker.namespace };
  const { code, out } = await runCommand(["doctor"], { env });
  expect(code).toBe(1);
  expect(out).toMatch(
    new RegExp(`^problem +Messages do not return from ${delay}: .*\\n +→ Use --management`, "m"),
  );
  expect(out).toMatch(
    new RegExp(`^problem +retrying, instance .*: messages do not return from ${delay}\\.$`, "m"),
  );
});
