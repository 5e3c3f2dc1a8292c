/** Coming and going among others: attempts that are given up, and what is left behind. */

import assert from "node:assert/strict";
import { isConfluoError, type Service } from "../../index.ts";
import { eventually } from "../eventually.ts";
import { type Bench, type Define, rejection, signalled } from "./suite.ts";

export const leaving: Define = (it) => {
  it("takes its own queues along when it leaves a broker that others share", async (bench) => {
    await bench.start("neighbour", (service) => service.route("/", () => 1));
    const subscriber = await bench.start("subscriber", (service) =>
      service.subscribe("/e", () => undefined, { per: "instance" }),
    );
    assert.equal(await publishMandatory(bench, `${bench.broker.namespace}.events`, "e"), undefined);
    const replyTo = await replyQueueOf(bench, subscriber);
    assert.equal(await publishMandatory(bench, "", replyTo), undefined);
    await subscriber.shutdown();
    assert.equal(await publishMandatory(bench, `${bench.broker.namespace}.events`, "e"), "returned");
    assert.equal(await publishMandatory(bench, "", replyTo), "returned");
  });

  it("connects whenever an earlier attempt was given up", async (bench) => {
    // Between two turns of the first attempt's end each time, to meet each of its steps.
    for (let turns = 0; turns < 12; turns += 1) {
      const service = bench.create(`again-${turns}`).route("/", () => turns);
      const stop = new AbortController();
      const first = rejection(service.connect(undefined, { signal: stop.signal }));
      stop.abort();
      for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
      await service.connect();
      assert.equal((await service.call(`again-${turns}`, "/")).body, turns);
      assert.ok(isConfluoError(await first, "CANCELLED"), String(await first));
    }
  });

  it("gives back what came while it connected in vain, and tells its handler", async (bench) => {
    await bench.start("worker", (service) => service.route("/", () => undefined)).then((w) => w.shutdown());
    const manager = await bench.start("manager");
    await manager.send("worker", "/task");
    const worker = bench.create("worker");
    const stop = new AbortController();
    const told = signalled<unknown>();
    worker.route("/task", async ({ signal }) => {
      signal.addEventListener("abort", () => told.resolve(signal.reason));
      stop.abort(); // while the second lane is still to be consumed
      await told.promise;
      throw new Error("too late");
    });
    const attempt = worker.connect(undefined, { signal: stop.signal }).then(
      () => "connected", // the embedded broker is faster than any delivery
      (error: unknown) => error,
    );
    const outcome = await attempt;
    if (outcome === "connected") await worker.shutdown({ timeoutMs: 250 });
    else assert.ok(isConfluoError(outcome, "CANCELLED"), String(outcome));
    await told.promise;
    await eventually(async () => (await bench.depth("worker", "inbox")) === 1, "the task, given back");
    assert.equal(await bench.depth("worker", "dead"), 0);
  });

  it("ends run() without an error when it is shut down, also before it has connected", async (bench) => {
    for (let turns = 0; turns < 24; turns += 1) {
      const service = bench.create(`run-${turns}`).route("/", () => 1);
      const running = service.run();
      for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
      await service.shutdown();
      await running;
      const stop = new AbortController();
      const again = service.run(undefined, { signal: stop.signal });
      for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
      stop.abort();
      await again;
      assert.equal(service.state, "stopped");
    }
  });

  it("ends run() by its signal as by SIGTERM, also while no broker answers", async (bench) => {
    const stop = new AbortController();
    const [bySignal, bySigterm] = ["signal", "sigterm"].map((name) =>
      bench.create(name, { broker: "amqp://127.0.0.1:1" }),
    ) as [Service, Service];
    const first = bySignal.run(undefined, { signal: stop.signal });
    await eventually(() => bySignal.state === "connecting", "an attempt");
    stop.abort();
    await first;
    const second = bySigterm.run();
    await eventually(() => bySigterm.state === "connecting", "another attempt");
    process.emit("SIGTERM");
    await second;
    assert.deepEqual([bySignal.state, bySigterm.state], ["stopped", "stopped"]);
    await bySignal.run(undefined, { signal: stop.signal }); // which has fired long ago
    assert.equal(bySignal.state, "stopped");
  });

  it("listens to a signal of run() once, however many services run by it", async (bench) => {
    const stop = new AbortController();
    const added: string[] = [];
    const listen = stop.signal.addEventListener.bind(stop.signal);
    stop.signal.addEventListener = (type: string, ...rest: unknown[]) => {
      added.push(type);
      (listen as (...args: unknown[]) => void)(type, ...rest);
    };
    const services = Array.from({ length: 12 }, (_, n) => bench.create(`run-${n}`));
    const running = services.map((service) => service.run(undefined, { signal: stop.signal }));
    await eventually(() => services.every(({ state }) => state === "running"), "all of them");
    stop.abort();
    await Promise.all(running);
    assert.deepEqual(added, ["abort"]);
  });

  it("listens to signals once, however many services run in a process", async (bench) => {
    const before = process.listenerCount("SIGTERM");
    const services = Array.from({ length: 12 }, (_, n) => bench.create(`run-${n}`));
    const running = services.map((service) => service.run());
    await eventually(() => services.every(({ state }) => state === "running"), "all of them");
    assert.equal(process.listenerCount("SIGTERM"), before + 1);
    assert.equal(process.listenerCount("SIGINT"), process.listenerCount("SIGTERM"));
    const [first, ...others] = services;
    await first?.shutdown();
    await running[0];
    assert.equal(process.listenerCount("SIGTERM"), before + 1);
    process.emit("SIGTERM");
    await Promise.all(running);
    assert.ok(others.every(({ state }) => state === "stopped"));
    assert.equal(process.listenerCount("SIGTERM"), before);
  });

  it("rejects verbs that waited for a connect in vain with NOT_CONNECTED and the reason", async (bench) => {
    const service = bench.create("vain", { broker: "amqp://127.0.0.1:1" });
    const connecting = rejection(service.connect(undefined, { timeoutMs: 1_000 }));
    const verbs = [
      () => service.call("vain", "/"),
      () => service.send("vain", "/"),
      () => service.publish("/e"),
    ];
    const errors = await Promise.all(verbs.map((verb) => rejection(verb())));
    for (const error of errors) {
      assert.ok(isConfluoError(error, "NOT_CONNECTED"), String(error));
      assert.match(error.message, /ECONNREFUSED/);
    }
    assert.ok(isConfluoError(await connecting, "BROKER_UNREACHABLE"), String(await connecting));
  });
};

async function publishMandatory(bench: Bench, exchange: string, key: string): Promise<string | undefined> {
  const client = await bench.foreign();
  const message = { body: new Uint8Array(), properties: { messageId: "m", mandatory: true } } as const;
  return new Promise((resolve) => client.publish({ exchange, key }, message, resolve));
}

// As a foreign service that is called sees it.
async function replyQueueOf(bench: Bench, caller: Awaited<ReturnType<Bench["start"]>>): Promise<string> {
  const client = await bench.foreign();
  const queue = bench.queue("foreign", "calls");
  await client.declareQueue({ name: queue, arguments: { "x-queue-type": "classic", "x-expires": 30_000 } });
  const asked = signalled<string>();
  await client.consume({
    queue,
    prefetch: "no-ack",
    onDelivery: ({ message }) => asked.resolve(String(message.properties.replyTo)),
    onCancelled: () => undefined,
  });
  const stop = new AbortController();
  const call = rejection(caller.call("foreign", "/", undefined, { signal: stop.signal }));
  const replyTo = await asked.promise;
  stop.abort();
  await call;
  return replyTo;
}
