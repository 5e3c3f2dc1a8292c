/** The wire, seen by a client that shares no code with confluo; and what such clients get wrong. */

import assert from "node:assert/strict";
import { type AmqpClient, type Context, type Message, type Properties, ServiceError } from "../../index.ts";
import { eventually } from "../eventually.ts";
import { type Bench, type Define, oneByOne, signalled } from "./suite.ts";

export const foreign: Define = (it) => {
  it("takes plain JSON with a routing key for an event, also without any property", async (bench) => {
    const got: unknown[] = [];
    await bench.start("listener", (service) =>
      service.subscribe("/order/*/placed", ({ path, body, from }) => void got.push([path, body, from])),
    );
    const exchange = `${bench.broker.namespace}.events`;
    await bench.publishForeign(exchange, "order.7.placed", '{"total":1}');
    await bench.publishForeign(exchange, "order.8.placed", "2", {
      contentType: "application/json; charset=utf-8",
      type: "com.acme.OrderPlaced",
    });
    await bench.publishForeign(exchange, "order.9.placed", "3", {
      contentType: "application/cloudevents+json",
      appId: "legacy",
    });
    await eventually(() => got.length === 3, "three events");
    assert.deepEqual(got, [
      ["/order/7/placed", { total: 1 }, ""],
      ["/order/8/placed", 2, ""],
      ["/order/9/placed", 3, "legacy"],
    ]);
  });

  it("answers a plain request with a plain reply", async (bench) => {
    await bench.start("adder", (service) =>
      service.route("/add", ({ body }) => ({ sum: (body as number[]).reduce((a, b) => a + b, 0) })),
    );
    const reply = await request(bench, "adder", { type: "/add", correlationId: "c-1" }, "[1,2,3]");
    assert.equal(reply.properties.correlationId, "c-1");
    assert.equal(reply.properties.contentType, "application/json");
    assert.equal(text(reply), '{"sum":6}');
  });

  it("answers a plain request that goes wrong with status and code in headers", async (bench) => {
    await bench.start("adder", (service) => service.route("/add", () => 1));
    const reply = await request(bench, "adder", { type: "/subtract", correlationId: "c-2" }, "[]");
    assert.equal(reply.properties.headers?.["confluo-status"], "404");
    assert.equal(reply.properties.headers?.["confluo-error"], "NO_SUCH_ROUTE");
    assert.equal(JSON.parse(text(reply)).code, "NO_SUCH_ROUTE");
  });

  it("answers every failure without a stack, a file name or a cause", async (bench) => {
    const cause = new TypeError("the cause");
    const raise = (error: Error): never => {
      throw error;
    };
    const failures: Readonly<Record<string, (context: Context) => unknown>> = {
      "/error": () => raise(new Error("told", { cause })),
      "/aggregate": () => raise(new AggregateError([cause], "told")),
      "/service-error": () =>
        raise(new ServiceError("told", { data: { error: cause, list: [cause] }, cause })),
      "/own-fields": () =>
        raise(Object.assign(new Error("told"), { stackTrace: cause.stack, toJSON: () => cause.stack })),
      "/bug": () => (undefined as unknown as { readonly member: { readonly deeper: unknown } }).member.deeper,
      "/circular": () => Object.assign([], { 0: globalThis }),
      "/status": ({ reply }) => reply(cause, { status: 500 }),
      "/remote": async () => (await bench.start("inner")).call("failing", "/error"),
    };
    await bench.start("failing", (service) => {
      for (const [path, handler] of Object.entries(failures)) service.route(path, handler);
    });
    for (const path of [...Object.keys(failures), "/no-such-route"]) {
      const { properties, body } = await request(bench, "failing", { type: path, correlationId: "c" }, "1");
      assert.ok(Number(properties.headers?.["confluo-status"]) >= 400, path);
      const sent = JSON.stringify(properties) + text({ properties, body });
      assert.doesNotMatch(
        sent,
        /\bat [^ ]+ \(|\bfile:|node_modules|node:internal|\.[cm]?[jt]s\b|the cause/,
        path,
      );
    }
    // A dead letter is for the service's own people.
    await (await bench.start("caller")).send("failing", "/error");
    const { properties } = await bench.takeDead("failing");
    assert.match(String(properties.headers?.["confluo-error-stack"]), /\bat /);
  });

  for (const [what, properties, body] of [
    ["broken JSON", { type: "/add", contentType: "application/json" }, "{"],
    ["an unknown content type", { type: "/add", contentType: "text/xml" }, "<a/>"],
    ["a content encoding", { type: "/add", contentEncoding: "gzip" }, "x"],
    ["bytes that are not UTF-8", { type: "/add" }, Uint8Array.of(0x22, 0xff, 0x22)],
    ["no path", {}, "1"],
  ] as const satisfies readonly (readonly [string, Properties, string | Uint8Array])[]) {
    it(`refuses a call with ${what} as MALFORMED_MESSAGE and goes on`, async (bench) => {
      await bench.start("adder", (service) => service.route("/add", () => "ok"));
      const reply = await request(bench, "adder", { ...properties, correlationId: "c" }, body);
      assert.equal(reply.properties.headers?.["confluo-error"], "MALFORMED_MESSAGE");
      assert.equal((await (await bench.start("caller")).call("adder", "/add")).body, "ok");
    });

    it(`dead-letters a one-way command with ${what} and goes on`, async (bench) => {
      const got = signalled();
      await bench.start("worker", (service) =>
        service.route("/ok", () => got.resolve()).route("/add", () => undefined),
      );
      await bench.publishForeign("", bench.queue("worker", "inbox"), body, properties);
      const { properties: dead } = await bench.takeDead("worker");
      assert.equal(dead.headers?.["confluo-error"], "MALFORMED_MESSAGE");
      assert.ok(typeof dead.messageId === "string" && dead.messageId !== "");
      await (await bench.start("manager")).send("worker", "/ok");
      await got.promise;
    });
  }

  it("counts what cannot be read, once each, and the letters that belong to no route", async (bench) => {
    const adder = await bench.start("adder", (service) =>
      service
        .route("/add", () => 1)
        .subscribe("/e/:id", () => 1)
        .subscribe("/e/#", () => 1),
    );
    const counted = (): unknown => {
      const { malformed, unmatched, routes, subscriptions } = adder.stats();
      const handlers = [...routes, ...subscriptions].map(({ deadLettered }) => deadLettered);
      return { malformed, unmatched: unmatched.received + unmatched.deadLettered, handlers };
    };
    const none = { received: 0, deadLettered: 0 };
    assert.deepEqual(counted(), { malformed: none, unmatched: 0, handlers: [0, 0, 0] });
    const json = { contentType: "application/json" };
    const caller = { replyTo: "nobody", correlationId: "c" };
    for (const [exchange, key, properties] of [
      ["", bench.queue("adder", "inbox"), json], // no path
      ["", bench.queue("adder", "inbox"), { ...json, type: "/add" }],
      ["", bench.queue("adder", "calls"), { ...json, type: "/add" }], // nobody to answer
      ["", bench.queue("adder", "calls"), { ...json, ...caller, type: "/add" }],
      [`${bench.broker.namespace}.events`, "e.1", json],
    ] as const)
      await bench.publishForeign(exchange, key, "{", properties);
    await eventually(async () => (await bench.depth("adder", "dead")) === 5, "the letters");
    assert.deepEqual(counted(), {
      malformed: { received: 5, deadLettered: 1 },
      unmatched: 0,
      handlers: [2, 1, 1],
    });
  });

  it("dead-letters a call that names nobody to answer", async (bench) => {
    await bench.start("adder", (service) => service.route("/add", () => 1));
    await bench.publishForeign("", bench.queue("adder", "calls"), "1", { type: "/add" });
    const { properties } = await bench.takeDead("adder");
    assert.equal(properties.headers?.["confluo-error"], "MALFORMED_MESSAGE");
  });

  it("survives a reply that nobody asked for", async (bench) => {
    const caught = signalled<Properties>();
    const client = await bench.foreign();
    // A service that answers by itself: twice, and once for a call that was never made.
    const queue = bench.queue("foreigner", "calls");
    await bench
      .start("foreigner", (service) => service.route("/", () => "x"))
      .then((service) => service.shutdown());
    await client.consume({
      queue,
      prefetch: 1,
      onCancelled: () => undefined,
      onDelivery: (delivery) => {
        const { replyTo = "", correlationId = "" } = delivery.message.properties;
        caught.resolve(delivery.message.properties);
        const answer = (id: string, body: string, properties: Properties = {}): void =>
          client.post(replyTo, message(body, { correlationId: id, ...properties }));
        answer("never-asked", "1");
        answer(correlationId, "2");
        answer(correlationId, "3");
        client.post(replyTo, message("{", {}));
        delivery.ack();
      },
    });
    const caller = await bench.start("caller", undefined, oneByOne);
    assert.equal((await caller.call("foreigner", "/a")).body, 2);
    const { type, contentType, appId, expiration } = await caught.promise;
    assert.deepEqual(
      { type, contentType, appId },
      { type: "/a", contentType: "application/json", appId: "caller" },
    );
    assert.ok(Number(expiration) > 0 && Number(expiration) <= 20_000);
    assert.equal((await caller.call("foreigner", "/b")).body, 2);
  });

  it("rejects a call whose reply cannot be read", async (bench) => {
    await bench
      .start("foreigner", (service) => service.route("/", () => "x"))
      .then((service) => service.shutdown());
    const client = await bench.foreign();
    await answerAll(client, bench.queue("foreigner", "calls"), message("{", {}));
    const caller = await bench.start("caller", undefined, oneByOne);
    await assert.rejects(caller.call("foreigner", "/"), { code: "MALFORMED_MESSAGE" });
  });

  it("reads scalars in protocol headers as text, and shows no such header to handlers", async (bench) => {
    const seen = signalled<object>();
    await bench.start("listener", (service) =>
      service.subscribe("/e", ({ headers, attempt, query }) => seen.resolve({ headers, attempt, query })),
    );
    await bench.publishForeign(`${bench.broker.namespace}.events`, "e", "1", {
      headers: {
        "confluo-attempt": 7,
        "confluo-query": true,
        "confluo-from": { a: 1 },
        "x-own": "rabbit",
        n: 5,
        b: false,
        text: "t",
        nested: { a: 1 },
      },
    });
    assert.deepEqual(await seen.promise, {
      headers: { n: "5", b: "false", text: "t" },
      attempt: 7,
      query: { true: "" },
    });
  });

  it("dead-letters what a foreign sender filled to the brim, its headers giving way to the story", async (bench) => {
    await bench.start("worker", (service) => service.route("/other", () => 1));
    const headers = { small: "kept", huge: "x".repeat(60_000) };
    await bench.publishForeign("", bench.queue("worker", "inbox"), "1", {
      type: "/job",
      headers,
      messageId: "m",
    });
    const { properties } = await bench.takeDead("worker");
    assert.equal(properties.headers?.["confluo-error"], "NO_SUCH_ROUTE");
    assert.equal(properties.headers?.small, "kept");
    assert.equal(properties.headers?.huge, undefined);
  });

  it("leaves the sender's CC, BCC and x-… headers behind in a dead letter", async (bench) => {
    await bench.start("worker", (service) => {
      service.route("/job", () => {
        throw new Error("no");
      });
    });
    const headers = { "x-death": "forged", "x-anything": "1", keep: "me" };
    await bench.publishForeign("", bench.queue("worker", "inbox"), "1", {
      type: "/job",
      headers,
      messageId: "m",
    });
    const { properties } = await bench.takeDead("worker");
    assert.equal(properties.headers?.keep, "me");
    assert.equal(properties.headers?.["x-anything"], undefined);
    assert.notEqual(properties.headers?.["x-death"], "forged");
  });
};

function message(body: string, properties: Properties): Message {
  return { body: new TextEncoder().encode(body), properties };
}

function text({ body }: Message): string {
  return new TextDecoder().decode(body);
}

async function answerAll(client: AmqpClient, queue: string, answer: Message): Promise<void> {
  await client.consume({
    queue,
    prefetch: 1,
    onCancelled: () => undefined,
    onDelivery: (delivery) => {
      const { replyTo = "", correlationId = "" } = delivery.message.properties;
      client.post(replyTo, { ...answer, properties: { ...answer.properties, correlationId } });
      delivery.ack();
    },
  });
}

async function request(
  bench: Bench,
  service: string,
  properties: Properties,
  body: string | Uint8Array,
): Promise<Message> {
  const client = await bench.foreign();
  const replyTo = await client.declareQueue({
    name: "",
    exclusive: true,
    arguments: { "x-queue-type": "classic" },
  });
  const answer = signalled<Message>();
  await client.consume({
    queue: replyTo,
    prefetch: "no-ack",
    onCancelled: () => undefined,
    onDelivery: ({ message: got }) => answer.resolve(got),
  });
  await bench.publishForeign("", bench.queue(service, "calls"), body, { ...properties, replyTo });
  return answer.promise;
}
