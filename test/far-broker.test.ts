/** A broker that is a long way off: what a service asks for at its start goes in few round trips, however much it is. */

import { afterEach, expect, it } from "vitest";
import { Broker, Service, silentLogger } from "../src/index.ts";
import { eventually } from "../src/testing/index.ts";
import { deleteNamespace, freshBroker, testBrokerUrl } from "./support/rabbitmq.ts";
import { TcpProxy } from "./support/tcp-proxy.ts";

const cleanUp: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

const LATENCY_MS = 10;
const MANY = 300;

it("binds hundreds of subscriptions together: at the start, later on, and on the next connection", async () => {
  const { namespace } = freshBroker({ logger: silentLogger });
  const proxy = new TcpProxy();
  const url = await proxy.listen();
  cleanUp.push(
    () => proxy.close(),
    () => deleteNamespace(namespace, ["listener"]),
  );
  proxy.latencyMs = LATENCY_MS;
  const broker = new Broker(url, { namespace, logger: silentLogger });
  const listener = new Service("listener", { broker, logger: silentLogger });
  cleanUp.push(() => listener.shutdown({ timeoutMs: 1_000 }));
  const got: string[] = [];
  const subscribe = (prefix: string): void => {
    for (let n = 0; n < MANY; n += 1) {
      listener.subscribe(`/${prefix}/${n}/:id`, ({ path }) => void got.push(path));
      listener.subscribe(`/${prefix}/own/${n}`, ({ path }) => void got.push(path), { per: "instance" });
    }
  };
  // A trip is what goes out before an answer is waited for. By its count, since a busy machine makes any time long.
  let trips = 0;
  proxy.onRequest = () => {
    trips += 1;
  };
  const took = async (work: () => Promise<unknown>): Promise<number> => {
    trips = 0;
    await work();
    return trips;
  };
  const bare = await took(() => listener.connect());
  subscribe("later");
  const later = await took(() => listener.connect());
  await listener.shutdown();
  subscribe("first");
  const atStart = await took(() => listener.connect());
  const again = await took(async () => {
    proxy.cut();
    await eventually(() => listener.state === "reconnecting", "the connection to break");
    await eventually(() => listener.health().status === "healthy", "all to be bound again");
  });
  // Four at a time, each of the two kinds of bindings alone would take 75.
  expect(later).toBeLessThan(75);
  expect(atStart - bare).toBeLessThan(75);
  expect(again - bare).toBeLessThan(75);
  for (const path of ["/later/0/x", `/first/${MANY - 1}/x`, `/later/own/${MANY - 1}`, "/first/own/0"])
    await listener.publish(path);
  await eventually(() => got.length === 4, "an event of each kind");
}, 60_000);

it("is connected to in few requests, by a client and by an instance of a service that runs", async () => {
  const { namespace } = freshBroker({ logger: silentLogger });
  const proxy = new TcpProxy();
  const far = await proxy.listen();
  cleanUp.push(
    () => proxy.close(),
    () => deleteNamespace(namespace, ["orders"]),
  );
  const start = async (name: string, url?: string): Promise<Service> => {
    const broker = new Broker(url ?? testBrokerUrl(), { namespace, logger: silentLogger });
    const service = new Service(name, { broker, logger: silentLogger });
    if (name === "orders") service.route("/", () => 1).subscribe("/e", () => undefined);
    cleanUp.push(() => service.shutdown({ timeoutMs: 1_000 }));
    return service.connect();
  };
  await start("orders");
  proxy.latencyMs = LATENCY_MS;
  let requests = 0;
  proxy.onRequest = () => {
    requests += 1;
  };
  await start("client", far);
  const ofClient = requests;
  await start("orders", far);
  // 16, and 24 to 32, since what goes out at the same time may come in several pieces. One after the other: 20 and 40.
  expect(ofClient).toBeLessThan(19);
  expect(requests - ofClient).toBeLessThan(37);
}, 60_000);
