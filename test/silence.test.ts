/** Connections that stand and say nothing: without heartbeats, nothing but silence tells. */

import { afterEach, describe, expect, it } from "vitest";
import { Broker, Service, silentLogger } from "../src/index.ts";
import { eventually } from "../src/testing/index.ts";
import { deleteNamespace, freshBroker } from "./support/rabbitmq.ts";
import { TcpProxy } from "./support/tcp-proxy.ts";

const cleanUp: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

async function throughProxy(namespace: string, warnings: string[] = []) {
  const proxy = new TcpProxy();
  const url = await proxy.listen();
  cleanUp.push(() => proxy.close());
  const logger = {
    ...silentLogger,
    warn: (_details: object, message: string) => void warnings.push(message),
  };
  return { proxy, broker: new Broker(`${url}?heartbeat=0`, { namespace, logger }) };
}

function makeService(name: string, broker: Broker): Service {
  const service = new Service(name, { broker, logger: silentLogger });
  cleanUp.push(() => service.shutdown({ timeoutMs: 1_000 }));
  return service;
}

describe("a connection that says nothing any more", () => {
  it("is given up for a new one when nothing is confirmed, and what was sent goes out there", async () => {
    const direct = freshBroker({ logger: silentLogger });
    cleanUp.push(() => deleteNamespace(direct.namespace, ["worker", "sender"]));
    const got: unknown[] = [];
    await makeService("worker", direct)
      .route("/", ({ body }) => void got.push(body))
      .connect();
    const { proxy, broker } = await throughProxy(direct.namespace);
    const sender = await makeService("sender", broker).connect();
    await sender.send("worker", "/", "before");
    proxy.stall("from broker");
    const sent = sender.send("worker", "/", "meanwhile", { timeoutMs: 60_000 });
    await eventually(() => sender.state === "reconnecting", "the end of the connection", {
      timeoutMs: 45_000,
    });
    proxy.flow();
    await sent;
    await eventually(() => got.includes("meanwhile"), "the message");
  }, 90_000);

  it("does not make another instance's calls queue anew", async () => {
    const direct = freshBroker({ logger: silentLogger });
    cleanUp.push(() => deleteNamespace(direct.namespace, ["worker", "caller"]));
    const first = await makeService("worker", direct)
      .route("/", () => "here")
      .connect();
    const warnings: string[] = [];
    const { proxy, broker } = await throughProxy(direct.namespace, warnings);
    let stalled = false;
    proxy.onRequest = (bytes) => {
      if (stalled || !bytes.includes(`${direct.namespace}.worker.calls`)) return;
      stalled = true;
      proxy.stall("from broker");
      setTimeout(() => proxy.flow(), 6_000);
    };
    await makeService("worker", broker)
      .route("/", () => "here")
      .connect(undefined, { timeoutMs: 30_000 });
    expect(stalled).toBe(true);
    expect(warnings.filter((line) => line.includes("made anew"))).toEqual([]);
    expect(first.health().status).toBe("healthy");
  }, 60_000);
});

/** The class and method of `basic.consume`. */
const CONSUME = Buffer.from([0, 60, 0, 20]);

describe("a process that stands still while it attaches", () => {
  // Longer than a queue's answer may take, right after it is asked for: the answer is there, and has not been read.
  const standStillAfter = (proxy: TcpProxy, isAsked: (bytes: Buffer) => boolean): (() => boolean) => {
    let stoodStill = false;
    proxy.onRequest = (bytes) => {
      if (stoodStill || !isAsked(bytes)) return;
      stoodStill = true;
      setImmediate(() => {
        for (const end = performance.now() + 5_500; performance.now() < end; );
      });
    };
    return () => stoodStill;
  };

  it("has its place for replies all the same", async () => {
    const direct = freshBroker({ logger: silentLogger });
    cleanUp.push(() => deleteNamespace(direct.namespace, ["worker", "caller"]));
    await makeService("worker", direct)
      .route("/", () => "here")
      .connect();
    const warnings: string[] = [];
    const { proxy, broker } = await throughProxy(direct.namespace, warnings);
    const caller = await makeService("caller", broker).connect();
    const stoodStill = standStillAfter(proxy, (bytes) => bytes.includes(CONSUME));
    expect((await caller.call("worker", "/")).body).toBe("here");
    expect(stoodStill()).toBe(true);
    expect(caller.health().status).toBe("healthy");
    expect(warnings).toEqual([]);
  }, 60_000);

  it("connects, and makes no queue anew", async () => {
    const direct = freshBroker({ logger: silentLogger });
    cleanUp.push(() => deleteNamespace(direct.namespace, ["worker"]));
    const warnings: string[] = [];
    const { proxy, broker } = await throughProxy(direct.namespace, warnings);
    const stoodStill = standStillAfter(proxy, (bytes) => bytes.includes(CONSUME));
    const worker = await makeService("worker", broker)
      .route("/", () => "here")
      .connect(undefined, { timeoutMs: 30_000 });
    expect(stoodStill()).toBe(true);
    expect(worker.health().status).toBe("healthy");
    expect(warnings).toEqual([]);
  }, 60_000);
});
