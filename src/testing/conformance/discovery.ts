/** Who is there, asked on the bus. */

import assert from "node:assert/strict";
import { hostname } from "node:os";
import { command, event, type InstanceInfo } from "../../index.ts";
import { eventually } from "../eventually.ts";
import { schemaOf } from "../schema-of.ts";
import { type Define, rejection, signalled } from "./suite.ts";

export const discovery: Define = (it) => {
  it("finds every connected instance, in order, and no one else", async (bench) => {
    assert.deepEqual(await bench.broker.discover(), []);
    const wire = await bench.foreign();
    const exchange = `${bench.broker.namespace}.discovery`;
    assert.equal(await wire.hasExchange(exchange), false); // looking leaves nothing behind
    const one = await bench.start("orders", (service) => service.route("/", () => 1));
    const two = await bench.start("orders", (service) => service.route("/", () => 1));
    const client = await bench.start("client");
    await bench.start("hidden", (service) => service.route("/", () => 1), { discovery: false });
    assert.equal(await wire.hasExchange(exchange), true);
    bench.create("unconnected");
    const found = await bench.broker.discover();
    const instances = [one.instance, two.instance].sort();
    assert.deepEqual(
      found.map(({ service, instance }) => [service, instance]),
      [["client", client.instance], ...instances.map((instance) => ["orders", instance])],
    );
    const pinged = await bench.broker.ping();
    assert.deepEqual(
      pinged.map(({ instance }) => instance),
      found.map(({ instance }) => instance),
    );
    assert.ok(pinged.every(({ ms }) => ms >= 0 && ms < 5_000));
  });

  it("asks the instances of one service, or one of them", async (bench) => {
    const one = await bench.start("orders");
    await bench.start("orders");
    await bench.start("mail");
    const named = async (options: { service: string; instance?: string }): Promise<readonly string[]> =>
      (await bench.broker.ping(options)).map(({ service }) => service);
    assert.deepEqual(await named({ service: "orders" }), ["orders", "orders"]);
    assert.deepEqual(await bench.broker.ping({ service: "orders", instance: "none" }), []);
    const [only] = await bench.broker.ping({ service: "orders", instance: one.instance });
    assert.equal(only?.instance, one.instance);
    assert.deepEqual(await named({ service: "nobody" }), []);
  });

  it("says what an instance is and handles", async (bench) => {
    const service = await bench.start(
      "orders",
      (orders) => {
        orders.route("/orders/:id", () => 1);
        orders.subscribe("/payments/*", () => undefined);
        orders.subscribe("/ticks", () => undefined, { per: "instance" });
      },
      { version: "1.4.2" },
    );
    const [info] = (await bench.broker.discover({ service: "orders" })) as [InstanceInfo];
    const { uptimeMs, startedAt, confluo, ...rest } = info;
    assert.deepEqual(rest, {
      service: "orders",
      instance: service.instance,
      version: "1.4.2",
      host: hostname(),
      pid: process.pid,
      node: process.versions.node,
      health: { status: "healthy", state: "running", detached: [] },
      routes: [{ path: "/orders/:id" }],
      subscriptions: [
        { pattern: "/payments/*", per: "service" },
        { pattern: "/ticks", per: "instance" },
      ],
      calls: [],
      sends: [],
      publishes: [],
    });
    assert.match(confluo, /^\d+\.\d+\.\d+/);
    assert.ok(uptimeMs >= 0 && uptimeMs < 60_000);
    assert.ok(Math.abs(Date.parse(startedAt) - Date.now()) < 60_000);
  });

  it("shows contracts as JSON Schema where the validator gives one", async (bench) => {
    const jsonSchema = (side: string) => () => ({ type: "number", title: side });
    const number = schemaOf<number, number>("a number", (value) =>
      typeof value === "number" ? { value } : undefined,
    );
    const known = {
      "~standard": {
        ...number["~standard"],
        jsonSchema: { input: jsonSchema("in"), output: jsonSchema("out") },
      },
    };
    const failing = {
      "~standard": {
        ...number["~standard"],
        jsonSchema: {
          input: () => {
            throw new Error("cannot be said");
          },
        },
      },
    };
    const add = command("math", "/add", { input: known, output: known });
    const plain = command("math", "/plain", { input: number, output: failing });
    const done = event("/done", { body: known });
    await bench.start("math", (math) => {
      math.route(add, () => 1);
      math.route(plain, () => 1);
      math.subscribe(done, () => undefined);
    });
    const [info] = await bench.broker.discover({ service: "math" });
    assert.deepEqual(info?.routes, [
      { path: "/add", input: { type: "number", title: "in" }, output: { type: "number", title: "in" } },
      { path: "/plain" },
    ]);
    assert.deepEqual(info?.subscriptions, [
      { pattern: "/done", per: "service", body: { type: "number", title: "in" } },
    ]);
  });

  it("forgets routes that were removed, and instances that left", async (bench) => {
    const off = new AbortController();
    const service = await bench.start("orders", (orders) => {
      orders.route("/kept", () => 1).route("/removed", () => 1, { signal: off.signal });
    });
    off.abort();
    const [info] = await bench.broker.discover();
    assert.deepEqual(info?.routes, [{ path: "/kept" }]);
    await service.shutdown();
    assert.deepEqual(await bench.broker.discover(), []);
    await service.connect();
    assert.equal((await bench.broker.discover()).length, 1);
  });

  it("ignores what is no question, and answers who names no id", async (bench) => {
    const service = await bench.start("orders");
    const wire = await bench.foreign();
    const answered = signalled<unknown>();
    const replyTo = await wire.declareQueue({
      name: "",
      exclusive: true,
      arguments: { "x-queue-type": "classic" },
    });
    await wire.consume({
      queue: replyTo,
      prefetch: "no-ack",
      onDelivery: ({ message }) => answered.resolve(JSON.parse(new TextDecoder().decode(message.body))),
      onCancelled: () => undefined,
    });
    const ask = (properties: object): Promise<void> =>
      bench.publishForeign(`${bench.broker.namespace}.discovery`, "*", "", properties);
    await ask({});
    await ask({ type: "ping" });
    await ask({ type: "secrets", replyTo });
    await ask({ type: "ping", replyTo: "amq.rabbitmq.reply-to.forged" });
    await ask({ type: "ping", replyTo: "no such queue" });
    await ask({ type: "ping", replyTo });
    assert.deepEqual(await answered.promise, { service: "orders", instance: service.instance });
    assert.equal((await bench.broker.ping()).length, 1);
  });

  it("answers into no queue that would take the answer for work", async (bench) => {
    await bench.start("orders", (orders) => orders.route("/", () => 1));
    const { namespace } = bench.broker;
    const lanes = ["calls", "inbox", "dead", "calls.again", "inbox.again"] as const;
    const queues = lanes.map((lane) => bench.queue("orders", lane));
    for (const replyTo of [...queues, `${namespace}.orphans`, `${namespace}.delay.250`])
      for (const type of ["ping", "info", "stats"])
        await bench.publishForeign(`${namespace}.discovery`, "orders", "", { type, replyTo });
    // Answered in the order in which they came: once this one is, so are they.
    assert.equal((await bench.broker.ping({ service: "orders" })).length, 1);
    // Twice, since a command without a path would be on its way to the dead letters.
    for (let round = 0; round < 2; round += 1) {
      for (const lane of lanes) assert.equal(await bench.depth("orders", lane), 0, lane);
      await bench.broker.ping();
    }
    assert.equal((await bench.broker.queue(`${namespace}.orphans`))?.messages, 0);
    assert.deepEqual(await bench.broker.deadLetters("orders").list(), []);
  });

  it("answers whoever asks from a queue of its own, whatever its name", async (bench) => {
    await bench.start("orders");
    const wire = await bench.foreign();
    const heard: string[] = [];
    for (const end of ["answers", "inbox"]) {
      const name = `monitor-${bench.broker.namespace}.${end}`;
      await wire.declareQueue({ name, exclusive: true, arguments: { "x-queue-type": "classic" } });
      const onDelivery = (): void => void heard.push(end);
      await wire.consume({ queue: name, prefetch: "no-ack", onDelivery, onCancelled: () => undefined });
      await bench.publishForeign(`${bench.broker.namespace}.discovery`, "*", "", {
        type: "ping",
        replyTo: name,
      });
    }
    await eventually(() => heard.length === 2, "both answers");
  });

  it("is refused for what cannot be asked", async (bench) => {
    for (const options of [
      { service: "no/name" },
      { instance: "i" },
      { service: "s", instance: "" },
      { tmeout: 1 },
    ])
      assert.equal(
        ((await rejection(bench.broker.discover(options as object))) as { code: string }).code,
        "INVALID_ARGUMENT",
      );
    for (const options of [{ version: 5 }, { discovery: "off" }])
      assert.throws(() => bench.create("s", options as object), { code: "INVALID_ARGUMENT" });
  });

  it("shows events as they pass, to whoever watches, and leaves nothing behind", async (bench) => {
    const seen: [string, unknown][] = [];
    const off = new AbortController();
    const watch = await bench.broker.watch(
      "/orders/*/placed",
      ({ path, body, from, bytes, headers }) => {
        seen.push([path, body instanceof Uint8Array ? [...body] : body]);
        if (path === "/orders/1/placed") assert.deepEqual([from, bytes, headers], ["shop", 9, { a: "b" }]);
        throw new Error("a listener's own affair");
      },
      { signal: off.signal },
    );
    const shop = await bench.start("shop");
    await shop.publish("/orders/1/placed?x=1", { n: 123 }, { headers: { a: "b" } });
    await shop.publish("/orders/1/paid", 0);
    await bench.publishForeign(`${bench.broker.namespace}.events`, "orders.2.placed", "{", {
      contentType: "application/json",
    });
    await eventually(() => seen.length === 2, "both events");
    assert.deepEqual(seen, [
      ["/orders/1/placed", { n: 123 }],
      ["/orders/2/placed", [0x7b]],
    ]);
    off.abort();
    await watch.ended;
    await shop.publish("/orders/3/placed", 3);
    assert.equal(seen.length, 2);
    await watch.close();
    for (const [pattern, listener] of [
      ["/a*", () => 1],
      ["", () => 1],
      ["/a", 5],
    ] as const)
      assert.equal(
        ((await rejection(bench.broker.watch(pattern, listener as () => void))) as { code: string }).code,
        "INVALID_ARGUMENT",
      );
  });

  it("takes no place from anything else: its queue goes with the instance", async (bench) => {
    const service = await bench.start("client");
    assert.equal(service.health().status, "healthy");
    assert.equal(await bench.broker.queue(bench.queue("client", "inbox")), undefined);
    await service.shutdown();
    await eventually(async () => (await bench.broker.ping()).length === 0, "the end of the instance");
  });
};
