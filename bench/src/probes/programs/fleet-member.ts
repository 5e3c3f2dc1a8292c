/** Instances of a fleet: one of each of its services that it is told to connect. */

import { setTimeout as sleep } from "node:timers/promises";
import { Broker, Service } from "../../confluo.ts";
import { type MemberRole, now, obey } from "../fleet/orders.ts";

const { urls, namespace, ownConnections, serves, atATime } = JSON.parse(process.argv[2] ?? "") as MemberRole;
const CONNECT_MS = 240_000;
const LOOK_MS = 20;
const logger = { debug: ignore, info: ignore, warn: ignore, error: ignore };
const brokers = urls.map(brokerAt);
const services: Service[] = [];
const handled: number[] = [];
const heard = new Map<number, number[]>();

function ignore(): void {}

function brokerAt(url: string): Broker {
  return new Broker(url, { namespace, logger });
}

function numberIn(body: unknown): number {
  return (body as { readonly n: number }).n;
}

function connect(name: string, n: number): Promise<Service> {
  const service = new Service(name, { logger });
  if (serves) {
    service.route("/ask", ({ body }) => body);
    service.route("/work", ({ body }) => void handled.push(numberIn(body)));
    service.subscribe("/fleet/announced", ({ body }) => {
      const n = numberIn(body);
      heard.set(n, [...(heard.get(n) ?? []), now()]);
    });
  }
  services.push(service);
  const at = n % urls.length;
  const broker = ownConnections ? brokerAt(urls[at] ?? "") : brokers[at];
  return service.connect(broker, { timeoutMs: CONNECT_MS });
}

// What is loaded by the first connection does not count as an instance's.
const first = await new Service("first", { logger }).connect(brokerAt(urls[0] ?? ""));
await first.shutdown();

obey({
  connect: async (names) => {
    const left = names.entries();
    const connectNext = async (): Promise<void> => {
      for (const [n, name] of left) await connect(name, n);
    };
    await Promise.all(Array.from({ length: atATime }, connectNext));
  },
  usage: async () => {
    globalThis.gc?.();
    globalThis.gc?.();
    const { user, system } = process.cpuUsage();
    const { rss, heapUsed } = process.memoryUsage();
    return { cpuMs: (user + system) / 1_000, rssBytes: rss, heapBytes: heapUsed };
  },
  untilHealthy: async (withinMs) => {
    const count = (): number => services.filter((service) => service.health().status !== "healthy").length;
    const end = performance.now() + withinMs;
    while (count() > 0 && performance.now() < end) await sleep(LOOK_MS);
    return count();
  },
  heard: async (event) => {
    const times = heard.get(event) ?? [];
    return { count: times.length, lastAt: Math.max(0, ...times) };
  },
  handled: async () => handled,
});
