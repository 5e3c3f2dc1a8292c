import { afterEach, expect, it } from "vitest";
import { Broker, Service, silentLogger } from "../index.ts";
import { eventually } from "../testing/eventually.ts";

/** `run()` and the signal that ends it. */

const warnings: string[] = [];
const onWarning = ({ message }: Error): void => void warnings.push(message);

afterEach(() => {
  process.removeListener("warning", onWarning);
  warnings.length = 0;
});

it("resolves when its signal fires while it connects, as it does for SIGTERM", async () => {
  const service = new Service("early", { logger: silentLogger });
  const off = new AbortController();
  const running = service.run("amqp://127.0.0.1:1", { signal: off.signal });
  await eventually(() => service.state === "connecting", "it to connect");
  off.abort();
  await expect(running).resolves.toBeUndefined();
  expect(service.state).toBe("stopped");
});

it("resolves when its signal fires in the turn in which it begins, or has fired before", async () => {
  const service = new Service("earlier", { logger: silentLogger });
  const off = new AbortController();
  const running = service.run("amqp://127.0.0.1:1", { signal: off.signal });
  off.abort();
  await expect(running).resolves.toBeUndefined();
  await expect(service.run("amqp://127.0.0.1:1", { signal: off.signal })).resolves.toBeUndefined();
});

it("shares one signal with many services and calls without a warning of a leak", async () => {
  process.on("warning", onWarning);
  const broker = new Broker("memory:");
  const off = new AbortController();
  const { signal } = off;
  const services = Array.from(
    { length: 30 },
    (_, n) => new Service(`s${n}`, { broker, logger: silentLogger }),
  );
  for (const service of services) service.route("/", () => new Promise(() => undefined), { signal });
  const runs = services.map((service) => service.run(undefined, { signal, timeoutMs: 100 }));
  await eventually(() => services.every(({ state }) => state === "running"), "all to run");
  const [caller] = services;
  const calls = services.map(({ name }) =>
    caller?.call(name, "/", undefined, { signal }).catch(() => "ended"),
  );
  for (const service of services) service.onState(() => undefined, { signal });
  // Node emits its warning in a later turn.
  await new Promise(setImmediate);
  off.abort();
  await Promise.all([...runs, ...calls]);
  expect(warnings).toEqual([]);
});
