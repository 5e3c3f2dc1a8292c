/** What only a real RabbitMQ can show: connections, addresses, refusals, and what is left in its queues. */

import { AsyncLocalStorage } from "node:async_hooks";
import { readFileSync } from "node:fs";
import { type AddressInfo, createServer, type Socket, connect as tcp } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { TlsOptions } from "node:tls";
import { type ChannelModel, connect } from "amqplib";
import { afterEach, describe, expect, it } from "vitest";
import {
  Broker,
  type BrokerOptions,
  isConfluoError,
  Service,
  ServiceError,
  type ServiceOptions,
  silentLogger,
} from "../src/index.ts";
import { levelExchanges, levelQueues } from "../src/protocol/delays.ts";
import { Namespace } from "../src/protocol/topology.ts";
import { eventually } from "../src/testing/index.ts";
import { deleteNamespace, freshBroker, testBrokerUrl } from "./support/rabbitmq.ts";
import { TcpProxy } from "./support/tcp-proxy.ts";

const cleanUp: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

function makeBroker(urls: string | readonly string[] = testBrokerUrl()): Broker {
  const namespace = freshBroker().namespace;
  cleanUp.push(() => deleteNamespace(namespace, ["a", "b", "c", "caller"]));
  return new Broker(urls, { namespace, logger: silentLogger });
}

function makeBrokerIn(namespace: string): Broker {
  return new Broker(testBrokerUrl(), { namespace, logger: silentLogger });
}

function makeService(name: string, broker: Broker, options: ServiceOptions = {}): Service {
  const service = new Service(name, { broker, logger: silentLogger, ...options });
  cleanUp.push(() => service.shutdown({ timeoutMs: 1_000 }));
  return service;
}

async function makeProxy(tls?: TlsOptions): Promise<{ readonly proxy: TcpProxy; readonly url: string }> {
  const proxy = new TcpProxy(tls);
  const url = await proxy.listen();
  cleanUp.push(() => proxy.close());
  return { proxy, url };
}

describe("connections", () => {
  it("opens two for a service, and the same two for all services of one Broker", async () => {
    const { proxy, url } = await makeProxy();
    const broker = makeBroker(url);
    const a = makeService("a", broker)
      .route("/", () => 1)
      .subscribe("/e", () => undefined, { per: "instance" });
    await a.connect();
    await a.call("a", "/");
    expect(proxy.opened).toBe(2);
    const b = await makeService("b", broker)
      .route("/", () => 2)
      .connect();
    await b.call("a", "/");
    expect(proxy.opened).toBe(2);
    await a.shutdown();
    expect((await b.call("b", "/")).body).toBe(2);
    await b.shutdown();
    await eventually(() => proxy.connections === 0, "no connection");
  });

  it("tries the next address when one fails", async () => {
    const broker = makeBroker(["amqp://127.0.0.1:1", "amqp://127.0.0.1:2", testBrokerUrl()]);
    const a = await makeService("a", broker)
      .route("/", () => "here")
      .connect();
    expect((await a.call("a", "/")).body).toBe("here");
  });

  it("takes the address of connect, of the options and of CONFLUO_BROKER, in this order", async () => {
    const before = process.env.CONFLUO_BROKER;
    process.env.CONFLUO_BROKER = "amqp://127.0.0.1:1";
    try {
      const service = makeService("a", makeBroker("amqp://127.0.0.1:2"));
      const lost = await service.connect(undefined, { timeoutMs: 1_000 }).catch((error: unknown) => error);
      expect(lost).toMatchObject({
        code: "BROKER_UNREACHABLE",
        message: expect.stringContaining("127.0.0.1:2"),
      });
      const unset = new Service("a", { logger: silentLogger });
      const other = await unset.connect(undefined, { timeoutMs: 1_000 }).catch((error: unknown) => error);
      expect(other).toMatchObject({
        code: "BROKER_UNREACHABLE",
        message: expect.stringContaining("127.0.0.1:1"),
      });
      await service.connect(makeBroker());
      expect(service.state).toBe("running");
    } finally {
      if (before === undefined) delete process.env.CONFLUO_BROKER;
      else process.env.CONFLUO_BROKER = before;
    }
  });

  it("says that credentials were refused, at once and without repeating them", async () => {
    const url = new URL(testBrokerUrl());
    url.username = "nobody";
    url.password = "s3cret";
    const error = await makeService("a", makeBroker(url.href))
      .connect()
      .catch((reason: unknown) => reason);
    expect(isConfluoError(error, "ACCESS_REFUSED")).toBe(true);
    expect(String(error)).not.toContain("s3cret");
    expect(JSON.stringify(error)).not.toContain("s3cret");
  });

  it("uses the vhost of the URL", async () => {
    const url = new URL(testBrokerUrl());
    url.pathname = "/no-such-vhost";
    const error = await makeService("a", makeBroker(url.href))
      .connect()
      .catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      code: "ACCESS_REFUSED",
      message: expect.stringContaining("no-such-vhost"),
    });
  });

  it("waits for a broker that is not there yet", async () => {
    const { proxy, url } = await makeProxy();
    const port = new URL(url).port;
    await proxy.close();
    const connecting = makeService("a", makeBroker(url)).connect();
    await sleep(250);
    const late = createServer((client) => {
      const { hostname, port: real } = new URL(testBrokerUrl());
      const upstream = tcp(Number(real || 5672), hostname);
      for (const socket of [client, upstream]) socket.on("error", () => undefined);
      client.pipe(upstream).pipe(client);
    });
    await new Promise<void>((resolve) => late.listen(Number(port), "127.0.0.1", resolve));
    cleanUp.unshift(() => new Promise((resolve) => late.close(resolve)));
    expect((await connecting).state).toBe("running");
  });

  it("rejects calls in flight with CONNECTION_LOST at once when the connection breaks, and comes back", async () => {
    const { proxy, url } = await makeProxy();
    const broker = makeBroker(url);
    const got: unknown[] = [];
    const a = makeService("a", broker)
      .route("/never", () => new Promise(() => undefined))
      .route("/", () => "back")
      .subscribe("/e", ({ body }) => void got.push(body))
      .subscribe("/i", ({ body }) => void got.push(body), { per: "instance" });
    await a.connect();
    const pending = a.call("a", "/never").catch((error: unknown) => error);
    await a.call("a", "/");
    proxy.cut();
    expect(isConfluoError(await pending, "CONNECTION_LOST")).toBe(true);
    expect(a.state).toBe("reconnecting");
    const early = await a.call("a", "/").catch((error: unknown) => error);
    expect(early).toMatchObject({ code: "NOT_CONNECTED" });
    await eventually(() => a.state === "running", "a new connection");
    expect((await a.call("a", "/")).body).toBe("back");
    await a.publish("/e", 1);
    await a.publish("/i", 2);
    await eventually(() => got.length === 2, "both events");
  });

  it("calls back outside of the context of whoever connected, on the next connection as on the first", async () => {
    const tenants = new AsyncLocalStorage<string>();
    const seen = new Map<string, Set<string | undefined>>();
    const note = (what: string): void => {
      seen.set(what, (seen.get(what) ?? new Set()).add(tenants.getStore()));
    };
    const line = (level: string) => () => note(level);
    const logger = { debug: line("debug"), info: line("info"), warn: line("warn"), error: line("error") };
    const { proxy, url } = await makeProxy();
    const { namespace } = makeBroker(url);
    const broker = new Broker(url, { namespace, logger });
    const a = makeService("a", broker, { logger })
      .onState(({ to }) => note(to))
      .use((_, next) => {
        note("middleware");
        return next();
      })
      .route("/", ({ kind }) => note(kind))
      .subscribe("/e", () => note("event"))
      .subscribe("/i", () => note("own event"), { per: "instance" });
    const roundTrip = async (): Promise<void> => {
      seen.clear();
      await tenants.run("sender", async () => {
        await a.call("a", "/");
        await a.send("a", "/");
        await a.publish("/e");
        await a.publish("/i");
        expect(tenants.getStore()).toBe("sender");
      });
      await eventually(() => seen.size === 5, "every handler");
      expect([...seen.values()]).toEqual(Array.from({ length: 5 }, () => new Set([undefined])));
    };
    await tenants.run("connector", () => a.connect());
    expect([...seen]).toEqual(["connecting", "running"].map((to) => [to, new Set([undefined])]));
    await roundTrip();
    seen.clear();
    tenants.run("breaker", () => proxy.cut());
    await eventually(() => seen.has("running") && seen.has("info"), "a new connection");
    expect([...seen.keys()]).toEqual(expect.arrayContaining(["warn", "reconnecting", "running", "info"]));
    expect(new Set([...seen.values()].flatMap((contexts) => [...contexts]))).toEqual(new Set([undefined]));
    await roundTrip();
  });

  it("sends user and password as UTF-8, whatever characters they have", async () => {
    const { proxy, url } = await makeProxy();
    const sent: Buffer[] = [];
    proxy.onRequest = (bytes) => void sent.push(bytes);
    const address = new URL(url);
    address.username = encodeURIComponent("us@r-ü");
    address.password = encodeURIComponent("p:ss/wörd€%");
    const connecting = makeService("a", makeBroker(address.href)).connect();
    await expect(connecting).rejects.toMatchObject({ code: "ACCESS_REFUSED" });
    expect(Buffer.concat(sent).includes("\0us@r-ü\0p:ss/wörd€%")).toBe(true);
  });

  it("connects though the connection breaks while it declares", async () => {
    const { proxy, url } = await makeProxy();
    const broker = makeBroker(url);
    let cuts = 0;
    proxy.onRequest = (bytes) => {
      if (cuts >= 2 || !bytes.includes(`${broker.namespace}.a.inbox`)) return;
      cuts += 1;
      proxy.cut();
    };
    const a = await makeService("a", broker)
      .route("/", () => 1)
      .connect();
    expect(cuts).toBe(2);
    expect((await a.call("a", "/")).body).toBe(1);
  });

  it("waits in connect() for a connection that is being made again, and for what was registered meanwhile", async () => {
    const { proxy, url } = await makeProxy();
    const broker = makeBroker(url);
    const direct = new Broker(testBrokerUrl(), { namespace: broker.namespace, logger: silentLogger });
    const caller = await makeService("caller", direct).connect();
    const a = await makeService("a", broker)
      .route("/", () => 1)
      .connect();
    proxy.refusing = true;
    proxy.cut();
    await eventually(() => a.state === "reconnecting", "the loss to be seen");
    const heard: unknown[] = [];
    a.subscribe("/late", ({ body }) => heard.push(body));
    const early = a.connect(undefined, { timeoutMs: 300 });
    await expect(early).rejects.toMatchObject({ code: "BROKER_UNREACHABLE" });
    expect(a.state).toBe("reconnecting");
    const connecting = a.connect();
    proxy.refusing = false;
    await connecting;
    expect(a.state).toBe("running");
    await caller.publish("/late");
    await eventually(() => heard.length === 1, "the event");
  });

  it("keeps what is sent and published while it connects again, in order, up to the deadline", async () => {
    const { proxy, url } = await makeProxy();
    const broker = makeBroker(url);
    const sent: unknown[] = [];
    const told: unknown[] = [];
    // On a connection that stays: what the broker gave to one that broke comes again, in an order of its own.
    await makeService("b", makeBrokerIn(broker.namespace))
      .route("/task", ({ body }) => sent.push(body))
      .subscribe("/told", ({ body }) => told.push(body))
      .connect();
    const a = await makeService("a", broker).connect();
    proxy.refusing = true;
    proxy.cut();
    await eventually(() => a.state === "reconnecting", "the loss to be seen");
    await expect(a.publish("/told", "late", { timeoutMs: 100 })).rejects.toMatchObject({ code: "TIMEOUT" });
    await expect(a.call("b", "/task")).rejects.toMatchObject({ code: "NOT_CONNECTED" });
    // Each verb on a channel of its own: there is an order within each, not between them.
    const kept = [1, 2, 3].flatMap((n) => [a.publish("/told", n), a.send("b", "/task", n)]);
    proxy.refusing = false;
    await Promise.all(kept);
    await eventually(() => told.length + sent.length >= 6, "all six");
    expect({ told, sent }).toEqual({ told: [1, 2, 3], sent: [1, 2, 3] });
  });

  it("sends again, as the same message, what was not confirmed when the connection broke", async () => {
    const { proxy, url } = await makeProxy();
    const broker = makeBroker(url);
    const direct = new Broker(testBrokerUrl(), { namespace: broker.namespace, logger: silentLogger });
    const ids = new Map<unknown, Set<string>>();
    await makeService("b", direct)
      .subscribe("/told", ({ body, messageId }) => {
        ids.set(body, (ids.get(body) ?? new Set()).add(messageId));
      })
      .connect();
    const a = await makeService("a", broker).connect();
    let seen = 0;
    proxy.onRequest = (bytes) => {
      seen += bytes.length;
      if (seen < 20_000) return;
      seen = Number.NEGATIVE_INFINITY;
      proxy.cut();
    };
    await Promise.all(Array.from({ length: 500 }, (_, n) => a.publish("/told", n)));
    expect(seen).toBeLessThan(0);
    await eventually(() => ids.size === 500, "all of them");
    expect([...ids.values()].every((of) => of.size === 1)).toBe(true);
  });

  it("takes no more than it can hold while there is no connection, and rejects all of it at a shutdown", async () => {
    const { proxy, url } = await makeProxy();
    const a = await makeService("a", makeBroker(url)).connect();
    proxy.refusing = true;
    proxy.cut();
    await eventually(() => a.state === "reconnecting", "the loss to be seen");
    const body = new Uint8Array(15 * 1024 * 1024);
    const held = Array.from({ length: 17 }, () => a.publish("/big", body).catch((error: unknown) => error));
    await expect(a.publish("/big", body)).rejects.toMatchObject({ code: "OVERLOADED" });
    await a.shutdown({ timeoutMs: 100 });
    for (const error of await Promise.all(held)) expect(error).toMatchObject({ code: "SHUTTING_DOWN" });
  });

  it("gives an attempt to connect up with the last who waits for it", async () => {
    const { proxy, url } = await makeProxy();
    proxy.refusing = true;
    const a = makeService("a", makeBroker(url)).route("/", () => 1);
    const patient = a.connect();
    const hasty = a.connect(undefined, { timeoutMs: 200 });
    await expect(hasty).rejects.toMatchObject({ code: "BROKER_UNREACHABLE" });
    expect(a.state).toBe("connecting");
    proxy.refusing = false;
    await patient;
    expect((await a.call("a", "/")).body).toBe(1);
  });

  it("runs what goes on here once, though its connection is made again meanwhile", async () => {
    const { proxy, url } = await makeProxy();
    const broker = makeBroker(url);
    let begun = 0;
    let finish: () => void = () => undefined;
    const free = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const work = async (): Promise<string> => {
      begun += 1;
      await free;
      return "once";
    };
    const a = await makeService("a", broker).route("/", work).subscribe("/e", work).connect();
    const caller = await makeService("caller", makeBrokerIn(broker.namespace)).connect();
    const call = caller.call("a", "/");
    await caller.send("a", "/");
    await caller.publish("/e");
    await eventually(() => begun === 3, "all three");
    proxy.cut();
    await eventually(() => a.state === "reconnecting", "the loss");
    await eventually(() => a.state === "running", "the next connection");
    const inbox = `${broker.namespace}.a.inbox`;
    await eventually(async () => (await broker.queue(inbox))?.messages === 0, "what came again");
    finish();
    expect((await call).body).toBe("once");
    await a.shutdown();
    expect(begun).toBe(3);
    for (const queue of ["inbox", "inbox.again", "dead"])
      expect((await broker.queue(`${broker.namespace}.a.${queue}`))?.messages).toBe(0);
  });

  it("does not run again what it has handled, though the acknowledgement was lost with the connection", async () => {
    const { proxy, url } = await makeProxy();
    const broker = makeBroker(url);
    let handled = 0;
    const a = await makeService("a", broker)
      .route("/", () => {
        handled += 1;
        if (handled === 1) proxy.stall("to broker"); // what is written from now on does not arrive
      })
      .connect();
    const caller = await makeService("caller", makeBrokerIn(broker.namespace)).connect();
    await caller.send("a", "/");
    await eventually(() => handled === 1, "the first delivery");
    proxy.reset();
    await eventually(() => a.state === "reconnecting", "the loss");
    proxy.flow();
    await eventually(() => a.state === "running", "the next connection");
    await caller.send("a", "/", "another");
    await eventually(() => handled === 2, "another");
    await a.shutdown();
    expect(handled).toBe(2);
    for (const queue of ["inbox", "inbox.again", "dead"])
      expect((await broker.queue(`${broker.namespace}.a.${queue}`))?.messages).toBe(0);
  });

  it("says that no broker was reached when each attempt is broken off", async () => {
    const { proxy, url } = await makeProxy();
    const broker = makeBroker(url);
    proxy.onRequest = (bytes) => {
      if (bytes.includes(`${broker.namespace}.orphans`)) proxy.cut();
    };
    const connecting = makeService("a", broker).connect(undefined, { timeoutMs: 2_000 });
    await expect(connecting).rejects.toMatchObject({ code: "BROKER_UNREACHABLE" });
  });

  it("leaves a host that says nothing as soon as nobody waits for it", async () => {
    const sockets = new Set<Socket>();
    const silent = createServer((socket) => {
      sockets.add(socket);
      socket.on("error", () => undefined).resume();
      socket.on("close", () => sockets.delete(socket));
    });
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    cleanUp.push(() => new Promise((resolve) => silent.close(resolve)));
    const { port } = silent.address() as AddressInfo;
    const a = makeService("a", makeBroker(`amqp://127.0.0.1:${port}`));
    const connecting = a.connect(undefined, { timeoutMs: 200 });
    await eventually(() => sockets.size > 0, "the attempt");
    await expect(connecting).rejects.toMatchObject({ code: "TIMEOUT" });
    // Its own time-out would come after five seconds.
    await eventually(() => sockets.size === 0, "the end of the attempt", { timeoutMs: 2_000 });
  });

  it("shuts down within its bound and two seconds though the broker says nothing any more", async () => {
    const { proxy, url } = await makeProxy();
    const a = await makeService("a", makeBroker(url))
      .route("/", () => 1)
      .subscribe("/e", () => undefined, { per: "instance" })
      .connect();
    await a.call("a", "/");
    proxy.muted = true;
    const began = performance.now();
    await a.shutdown({ timeoutMs: 300 });
    expect(performance.now() - began).toBeLessThan(2_300);
    expect(a.state).toBe("stopped");
  });

  it("declares later registrations though one was refused", async () => {
    const broker = makeBroker();
    const a = await makeService("a", broker)
      .route("/", () => 1)
      .connect();
    const connection = await connect(testBrokerUrl());
    cleanUp.push(() => connection.close());
    const channel = await connection.createChannel();
    // A binding to an exchange that is gone is refused.
    await channel.deleteExchange(`${broker.namespace}.events`);
    a.subscribe("/refused", () => undefined);
    await expect(a.connect()).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await channel.assertExchange(`${broker.namespace}.events`, "topic");
    const got = new Promise((resolve) => a.subscribe("/fine", resolve));
    await a.connect();
    await a.publish("/fine");
    await got;
  });

  it("shuts down while it reconnects", async () => {
    const { proxy, url } = await makeProxy();
    const a = await makeService("a", makeBroker(url))
      .route("/", () => 1)
      .connect();
    await proxy.close();
    await eventually(() => a.state === "reconnecting", "the loss");
    await a.shutdown({ timeoutMs: 500 });
    expect(a.state).toBe("stopped");
  });
});

describe("TLS", () => {
  const pem = (name: string): Buffer => readFileSync(new URL(`./support/tls/${name}`, import.meta.url));
  const server = { cert: pem("server.pem"), key: pem("server.key") };

  function makeSecure(url: string, tls?: BrokerOptions["tls"]): Service {
    const namespace = freshBroker().namespace;
    cleanUp.push(() => deleteNamespace(namespace, ["a"]));
    const broker = new Broker(url, {
      namespace,
      logger: silentLogger,
      ...(tls === undefined ? {} : { tls }),
    });
    return makeService("a", broker).route("/", () => "secret");
  }

  it("connects to amqps:// with a private CA", async () => {
    const { url } = await makeProxy(server);
    const a = await makeSecure(url, { ca: pem("ca.pem") }).connect();
    expect((await a.call("a", "/")).body).toBe("secret");
  });

  it("refuses a certificate that no known CA signed, and says so", async () => {
    const { url } = await makeProxy(server);
    const error = await makeSecure(url)
      .connect(undefined, { timeoutMs: 2_000 })
      .catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "ACCESS_REFUSED", message: expect.stringMatching(/certificate/) });
  });
});

describe("topology", () => {
  async function admin(): Promise<ChannelModel> {
    const connection = await connect(testBrokerUrl());
    cleanUp.push(() => connection.close());
    return connection;
  }

  it("explains a queue that exists with other arguments, and deletes nothing", async () => {
    const broker = makeBroker();
    const queue = `${broker.namespace}.a.calls`;
    const channel = await (await admin()).createChannel();
    await channel.assertQueue(queue, { arguments: { "x-queue-type": "classic", "x-expires": 60_000 } });
    const service = makeService("a", broker).route("/", () => 1);
    const error = await service.connect().catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "TOPOLOGY_CONFLICT" });
    const { message } = error as Error;
    for (const part of [queue, "x-expires", "60000", "30000"]) expect(message).toContain(part);
    expect(service.state).toBe("idle");
    await channel.deleteQueue(queue);
    await service.connect();
    expect((await service.call("a", "/")).body).toBe(1);
  });

  it("declares a deleted queue again and goes on", async () => {
    const broker = makeBroker();
    const a = await makeService("a", broker)
      .route("/", () => "healed")
      .connect();
    const channel = await (await admin()).createChannel();
    await channel.deleteQueue(`${broker.namespace}.a.calls`);
    await eventually(async () => {
      const answer = await a.call("a", "/", undefined, { timeoutMs: 1_000 }).catch(() => undefined);
      return answer?.body === "healed";
    }, "an answer");
  });

  it("is made by several instances of a new service at once, and no connection is lost over it", async () => {
    for (let round = 0; round < 5; round += 1) {
      const { namespace } = makeBroker();
      const warnings: string[] = [];
      const logger = {
        ...silentLogger,
        warn: (_details: object, message: string) => void warnings.push(message),
      };
      const services = Array.from({ length: 6 }, () =>
        makeService("a", new Broker(testBrokerUrl(), { namespace, logger })).route("/", () => 1),
      );
      await Promise.all(services.map((service) => service.connect()));
      expect(services.map((service) => service.health().status)).toEqual(services.map(() => "healthy"));
      expect(warnings).toEqual([]);
      await Promise.all(services.map((service) => service.shutdown({ timeoutMs: 1_000 })));
    }
  }, 60_000);

  it("declares the whole topology with the arguments of the protocol", async () => {
    const broker = makeBroker();
    let tries = 0;
    const a = await makeService("a", broker, { retry: { attempts: 2 } })
      .route("/", () => {
        tries += 1;
        if (tries === 1) throw new ServiceError("busy", { retry: { afterMs: 1_250 } });
      })
      .connect();
    await a.send("a", "/");
    await eventually(() => tries === 2, "the retry");
    const channel = await (await admin()).createChannel();
    const namespace = new Namespace(broker.namespace);
    // Declared with equal arguments all of these pass; with one that differs, the broker would refuse.
    for (const { name, arguments: args } of [
      ...namespace.sharedQueues(),
      ...namespace.callQueues("a"),
      ...namespace.durableQueues("a"),
      ...levelQueues(namespace, 5),
    ]) {
      await channel.checkQueue(name);
      await channel.assertQueue(name, { arguments: args });
    }
    for (const { name, type, arguments: args } of [
      ...namespace.exchanges(),
      ...levelExchanges(namespace, 5),
    ]) {
      await channel.checkExchange(name);
      await channel.assertExchange(name, type, { arguments: args ?? {} });
    }
  });

  it("keeps a message confirmed in a row of 5,000 pipelined publishes", async () => {
    const broker = makeBroker();
    const got = new Set<unknown>();
    const a = await makeService("a", broker)
      .subscribe("/n", ({ body }) => void got.add(body))
      .connect();
    await Promise.all(Array.from({ length: 5_000 }, (_, i) => a.publish("/n", i)));
    await eventually(() => got.size === 5_000, "all events");
  });

  it("moves a message that is larger than its receiver's own limit", async () => {
    const sender = makeBroker();
    const receiver = new Broker(testBrokerUrl(), {
      namespace: sender.namespace,
      maxBodyBytes: 10,
      logger: silentLogger,
    });
    let attempts = 0;
    await makeService("a", receiver, { retry: { attempts: 2, backoff: { firstMs: 1 } } })
      .route("/", () => {
        attempts += 1;
        throw new Error("no");
      })
      .connect();
    const b = await makeService("b", sender).connect();
    await b.send("a", "/", "more than ten bytes");
    const dead = `${sender.namespace}.a.dead`;
    await eventually(async () => (await sender.queue(dead))?.messages === 1, "the dead letter");
    expect(attempts).toBe(2);
  });

  it("settles the innocent and blames the large when the broker's own limit is below ours", async () => {
    const broker = new Broker(testBrokerUrl(), {
      namespace: makeBroker().namespace,
      maxBodyBytes: 1024 ** 3,
    });
    const a = await makeService("a", broker)
      .route("/", ({ body }) => (body as Uint8Array).length)
      .connect();
    const huge = new Uint8Array(135 * 1024 * 1024); // over RabbitMQ 3's 128 MiB and 4's 16 MiB
    const [large, ...small] = await Promise.all([
      a.call("a", "/", huge).catch((error: unknown) => error),
      ...Array.from({ length: 20 }, (_, i) => a.call("a", "/", new Uint8Array(i))),
    ]);
    expect(large).toMatchObject({ code: "PAYLOAD_TOO_LARGE" });
    expect(small.map((reply) => (reply as { body: unknown }).body)).toEqual(
      Array.from({ length: 20 }, (_, i) => i),
    );
    expect((await a.call("a", "/", new Uint8Array(3))).body).toBe(3);
  });

  it("answers with PAYLOAD_TOO_LARGE when the broker's own limit is below an answer, and with all other answers", async () => {
    const broker = new Broker(testBrokerUrl(), {
      namespace: makeBroker().namespace,
      maxBodyBytes: 1024 ** 3,
      logger: silentLogger,
    });
    const a = await makeService("a", broker)
      .route("/huge", () => new Uint8Array(135 * 1024 * 1024))
      .route("/large", () => new Uint8Array(100 * 1024))
      .route("/small", ({ body }) => body)
      .connect();
    const caller = await makeService("caller", broker).connect();
    for (let times = 0; times < 2; times += 1) {
      const [huge, large, ...small] = await Promise.all([
        caller.call("a", "/huge").catch((error: unknown) => error),
        caller.call("a", "/large"),
        ...Array.from({ length: 20 }, (_, i) => caller.call("a", "/small", i)),
      ]);
      expect(huge).toMatchObject({ code: "PAYLOAD_TOO_LARGE", name: "RemoteError" });
      expect(large.body).toHaveLength(100 * 1024);
      expect(small.map(({ body }) => body)).toEqual(Array.from({ length: 20 }, (_, i) => i));
    }
    expect(a.state).toBe("running");
  });
});
