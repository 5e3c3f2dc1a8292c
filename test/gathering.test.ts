/** Calls in one message whose connection to RabbitMQ breaks: the caller's, or that of the instance that has them. */

import { afterEach, expect, it } from "vitest";
import { Broker, isConfluoError, Service, type ServiceOptions, silentLogger } from "../src/index.ts";
import { eventually } from "../src/testing/index.ts";
import { deleteNamespace, freshBroker, testBrokerUrl } from "./support/rabbitmq.ts";
import { TcpProxy } from "./support/tcp-proxy.ts";

const cleanUp: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

/** A caller and the service that it calls, each on a connection of its own that can be cut. */
async function pair(setUp: (worker: Service) => unknown, options: ServiceOptions = {}) {
  const { namespace } = freshBroker();
  cleanUp.push(() => deleteNamespace(namespace, ["worker"]));
  const member = async (name: string, own: ServiceOptions = {}) => {
    const proxy = new TcpProxy();
    const broker = new Broker(await proxy.listen(), { namespace, logger: silentLogger });
    broker.gathersEagerly = true;
    cleanUp.push(() => proxy.close());
    const service = new Service(name, { broker, logger: silentLogger, ...own });
    cleanUp.push(() => service.shutdown({ timeoutMs: 1_000 }));
    return { proxy, service };
  };
  const [worker, caller] = [await member("worker", options), await member("caller")];
  setUp(worker.service);
  await worker.service.connect();
  await caller.service.connect();
  const depth = async (queue: string): Promise<number | undefined> => {
    const direct = new Broker(testBrokerUrl(), { namespace, logger: silentLogger });
    return (await direct.queue(`${namespace}.worker.${queue}`))?.messages;
  };
  return { worker, caller, depth };
}

async function broken({ proxy, service }: Awaited<ReturnType<typeof pair>>["worker"]): Promise<void> {
  proxy.cut();
  await eventually(() => service.state === "reconnecting", "the loss");
  await eventually(() => service.state === "running", "the next connection");
}

it("rejects every call of a message with CONNECTION_LOST at once, and the next go together again", async () => {
  const { caller } = await pair((worker) =>
    worker.route("/never", () => new Promise(() => undefined)).route("/:n", ({ params }) => params.n),
  );
  const began = performance.now();
  const calls = Array.from({ length: 16 }, () =>
    caller.service.call("worker", "/never").catch((error: unknown) => error),
  );
  const [quick] = await Promise.all([caller.service.call("worker", "/0")]);
  expect(quick.body).toBe("0");
  await broken(caller);
  for (const error of await Promise.all(calls)) expect(isConfluoError(error, "CONNECTION_LOST")).toBe(true);
  expect(performance.now() - began).toBeLessThan(10_000);
  const next = Array.from({ length: 16 }, (_, n) => caller.service.call("worker", `/${n}`));
  expect((await Promise.all(next)).map(({ body }) => body)).toEqual(
    Array.from({ length: 16 }, (_, n) => `${n}`),
  );
});

it("rejects calls with CONNECTION_LOST that were made in the turn in which the connection broke", async () => {
  const { caller } = await pair((worker) => worker.route("/", () => "answered"));
  await caller.service.call("worker", "/");
  const lost = new Promise<void>((resolve) => {
    caller.service.onState(({ to }) => {
      if (to === "reconnecting") resolve();
    });
  });
  const calls = Array.from({ length: 16 }, () => caller.service.call("worker", "/"));
  caller.proxy.cut();
  for (const { status, ...outcome } of await Promise.allSettled(calls)) {
    if (status === "rejected") expect(outcome).toMatchObject({ reason: { code: "CONNECTION_LOST" } });
  }
  await lost;
  await eventually(() => caller.service.state === "running", "the next connection");
  expect((await caller.service.call("worker", "/")).body).toBe("answered");
});

it("runs what goes on here once, though the connection that it came over is gone", async () => {
  let begun = 0;
  let finish: () => void = () => undefined;
  const free = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const { worker, caller, depth } = await pair((service) =>
    service.route("/:n", async ({ params }) => {
      begun += 1;
      await free;
      return params.n;
    }),
  );
  const calls = Array.from({ length: 16 }, (_, n) => caller.service.call("worker", `/${n}`));
  await eventually(() => begun === 16, "all calls");
  await broken(worker);
  await eventually(async () => (await depth("calls")) === 0, "what came again");
  finish();
  const bodies = (await Promise.all(calls)).map(({ body }) => body);
  expect(bodies).toEqual(Array.from({ length: 16 }, (_, n) => `${n}`));
  expect(await depth("calls.again")).toBe(0);
  expect(begun).toBe(16);
});

it("runs once what waited for a place when the connection that it came over broke", async () => {
  const runs = new Map<string, number>();
  let finish: () => void = () => undefined;
  const free = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const run = async ({ params: { n = "" } }: { readonly params: Readonly<Record<string, string>> }) => {
    runs.set(n, (runs.get(n) ?? 0) + 1);
    await free;
    return n;
  };
  const { worker, caller, depth } = await pair((service) => service.route("/:n", run), {
    concurrency: { calls: 1 },
  });
  const calls = Array.from({ length: 4 }, (_, n) => caller.service.call("worker", `/${n}`));
  await eventually(() => runs.size === 1, "the first");
  await broken(worker);
  await eventually(async () => (await depth("calls")) === 0, "what came again");
  finish();
  const bodies = (await Promise.all(calls)).map(({ body }) => body);
  expect(bodies).toEqual(["0", "1", "2", "3"]);
  await worker.service.shutdown();
  expect([...runs.values()]).toEqual([1, 1, 1, 1]);
});

it.each([
  ["calls", "/short", "x".repeat(500)],
  ["replies", "/long", 1],
])("makes no message of %s that is larger than the broker takes", async (_, path, body) => {
  const broker = new Broker("memory:", { maxBodyBytes: 4_096, logger: silentLogger });
  broker.gathersEagerly = true;
  const make = (name: string): Service => {
    const service = new Service(name, { broker, logger: silentLogger });
    cleanUp.push(() => service.shutdown({ timeoutMs: 100 }));
    return service;
  };
  const worker = make("worker").route("/short", () => "short");
  await worker.route("/long", () => "x".repeat(500)).connect();
  const caller = await make("caller").connect();
  const calls = Array.from({ length: 16 }, () => caller.call("worker", path, body, { timeoutMs: 1_000 }));
  const codes = (await Promise.allSettled(calls)).map((outcome) =>
    outcome.status === "rejected" ? outcome.reason.code : "answered",
  );
  expect(codes).toEqual(codes.map(() => "answered"));
});
