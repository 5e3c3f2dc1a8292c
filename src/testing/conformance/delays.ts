/** Delayed messages: commands and events that wait at the broker until they are due. */

import assert from "node:assert/strict";
import { type SendOptions, type Service, ServiceError } from "../../index.ts";
import { eventually } from "../eventually.ts";
import { type Bench, type Define, rejection, signalled } from "./suite.ts";

export const delays: Define = (it) => {
  it("have a command handled when it is due, as it was sent", async (bench) => {
    const seen = signalled<{ readonly at: number; readonly context: unknown }>();
    await bench.start("worker", (service) =>
      service.route("/task/:id", (context) => {
        const { kind, path, params, query, headers, body, messageId, from, attempt, redelivered } = context;
        const same = { kind, path, params, query, headers, body, messageId, from, attempt, redelivered };
        seen.resolve({ at: performance.now(), context: same });
      }),
    );
    const manager = await bench.start("manager");
    const began = performance.now();
    const options = { delayMs: 600, messageId: "m-7", headers: { h: "kept" }, query: { q: 1 } };
    await manager.send("worker", "/task/7", { n: 1 }, options);
    assert.ok(performance.now() - began < 600, "the send waited");
    const { at, context } = await seen.promise;
    assert.ok(at - began >= 600, `${at - began} ms`);
    assert.deepEqual(context, {
      kind: "send",
      path: "/task/7",
      params: { id: "7" },
      query: { q: "1" },
      headers: { h: "kept" },
      body: { n: 1 },
      messageId: "m-7",
      from: "manager",
      attempt: 1,
      redelivered: false,
    });
  });

  it("have an event published when it is due, to all who subscribe then", async (bench) => {
    const seen: unknown[] = [];
    const shop = await bench.start("shop", (service) => service.route("/", () => 1));
    const began = performance.now();
    await shop.publish(
      "/sale/starts",
      { sku: 1 },
      { delayMs: 4_000, messageId: "m", headers: { h: "kept" } },
    );
    const take = (name: string) => (service: Service) =>
      service.subscribe("/sale/#", ({ kind, path, body, messageId, from, headers, attempt }) => {
        assert.ok(performance.now() - began >= 4_000);
        seen.push({ name, kind, path, body, messageId, from, headers, attempt });
      });
    for (const name of ["mail", "stock"]) await bench.start(name, take(name));
    await eventually(() => seen.length === 2, "both");
    const same = { kind: "event", path: "/sale/starts", body: { sku: 1 }, messageId: "m", from: "shop" };
    const names = ["mail", "stock"].map((name) => ({ name, ...same, headers: { h: "kept" }, attempt: 1 }));
    assert.deepEqual(
      seen.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)),
      names,
    );
  });

  it("are over at a time that is given, in any form that names a moment, and at once if that has passed", async (bench) => {
    const seen: [unknown, number][] = [];
    await bench.start("worker", (service) =>
      service.route("/", ({ body }) => void seen.push([body, Date.now()])),
    );
    const manager = await bench.start("manager");
    const now = Date.now();
    const due = new Date(now + 3_000);
    const inIndia = new Date(due.getTime() + 5.5 * 3_600_000).toISOString().replace("Z", "+05:30");
    await Promise.all([
      manager.send("worker", "/", "date", { at: due }),
      manager.send("worker", "/", "text", { at: due.toISOString() }),
      manager.send("worker", "/", "offset", { at: inIndia }),
      manager.send("worker", "/", "past", { at: new Date(0) }),
      manager.send("worker", "/", "now", { delayMs: 0 }),
    ]);
    await eventually(() => seen.length === 5, "all of them");
    const times = new Map(seen as [string, number][]);
    for (const form of ["date", "text", "offset"])
      assert.ok((times.get(form) ?? 0) >= due.getTime() - 1, form);
    for (const form of ["past", "now"]) assert.ok((times.get(form) ?? due.getTime()) < due.getTime(), form);
  });

  it("need nobody: neither who sent a command, nor who handles it", async (bench) => {
    await bench.start("worker", (service) => service.route("/", () => 1)).then((each) => each.shutdown());
    const sender = await bench.start("sender");
    await sender.send("worker", "/", 1, { delayMs: 250 });
    await sender.shutdown();
    await eventually(async () => (await bench.depth("worker", "inbox")) === 1, "the message in the inbox");
    const handled = signalled<unknown>();
    await bench.start("worker", (service) => service.route("/", ({ body }) => handled.resolve(body)));
    assert.equal(await handled.promise, 1);
  });

  it("of an event wait in the inbox of its service until one of its instances is there", async (bench) => {
    const setUp = (service: Service): unknown => service.route("/", () => 1);
    const seen = signalled<unknown>();
    await bench.start("listener", (service) => service.subscribe("/e", ({ body }) => seen.resolve(body)));
    const shop = await bench.start("shop", setUp);
    await shop.publish("/e", "late", { delayMs: 250 });
    await shop.shutdown();
    await eventually(async () => (await bench.depth("shop", "inbox")) === 1, "the event in the inbox");
    await bench.start("shop", setUp);
    assert.equal(await seen.promise, "late");
    await eventually(async () => (await bench.depth("shop", "inbox")) === 0, "the end");
    assert.equal(await bench.depth("shop", "dead"), 0);
  });

  it("of an event are kept by an instance that dies with it", async (bench) => {
    const setUp = (service: Service): unknown => service.route("/", () => 1);
    const seen: unknown[] = [];
    await bench.start("listener", (service) =>
      service.subscribe("/e", ({ messageId }) => void seen.push(messageId)),
    );
    const shop = await bench.start("shop", setUp);
    await shop.publish("/e", 1, { delayMs: 250, messageId: "m" });
    await shop.shutdown();
    await bench.dieWith("shop", "inbox", 1);
    await bench.start("shop", setUp);
    await eventually(() => seen.length > 0, "the event");
    assert.deepEqual(seen, ["m"]);
  });

  it("are not for events of clients, nor for services that do not exist", async (bench) => {
    const client = await bench.start("client");
    const refused = (await rejection(client.publish("/e", 1, { delayMs: 250 }))) as Error & { code: string };
    assert.equal(refused.code, "INVALID_ARGUMENT");
    assert.match(refused.message, /client has no route or subscription/);
    const missing = (await rejection(client.send("nobody", "/", 1, { delayMs: 250 }))) as { code: string };
    assert.equal(missing.code, "NO_SUCH_SERVICE");
    await bench.start("nobody", (service) => service.route("/", () => 1));
    await client.send("nobody", "/", 1, { delayMs: 250 });
  });

  it("are refused in any form that is no time", async (bench) => {
    const service = await bench.start("worker", (each) => each.route("/", () => 1));
    const wrong: unknown[] = [
      { delayMs: -1 },
      { delayMs: Number.NaN },
      { delayMs: Number.POSITIVE_INFINITY },
      { delayMs: "250" },
      { delayMs: 4e12 },
      { delayMs: 1, at: new Date() },
      { at: new Date(Number.NaN) },
      { at: Date.now() + 1_000 },
      { at: "2026-12-01T09:00:00" },
      { at: "2026-12-01" },
      { at: "tomorrow" },
      { at: "2026-02-30T09:00:00Z" },
      { at: "2026-13-01T09:00:00Z" },
      { at: "9999-01-01T00:00:00Z" },
    ];
    for (const options of wrong as SendOptions[]) {
      for (const promise of [service.send("worker", "/", 1, options), service.publish("/e", 1, options)])
        assert.equal(
          ((await rejection(promise)) as { code: string }).code,
          "INVALID_ARGUMENT",
          JSON.stringify(options),
        );
    }
    const call = service.call("worker", "/", 1, { delayMs: 250 } as object);
    assert.match(String(await rejection(call)), /call has no option "delayMs"/);
  });

  it("let a message expire after it was due, not before", async (bench) => {
    await bench.start("worker", (service) => service.route("/", () => 1)).then((each) => each.shutdown());
    const sender = await bench.start("sender");
    await sender.send("worker", "/", 1, { delayMs: 3_000, expiresMs: 2_000, messageId: "m" });
    const handled = signalled();
    const worker = await bench.start("worker", (service) => service.route("/", () => handled.resolve()));
    await handled.promise;
    await worker.shutdown();
    assert.equal(await bench.depth("worker", "dead"), 0);
  });

  it("go on after a failure as any other message does", async (bench) => {
    const attempts: number[] = [];
    const setUp = (service: Service): unknown =>
      service.route("/", ({ attempt, messageId }) => {
        assert.equal(messageId, "m");
        attempts.push(attempt);
        throw new ServiceError("no");
      });
    const worker = await bench.start("worker", setUp, {
      retry: { attempts: 2, backoff: { firstMs: 1, maxMs: 1 } },
    });
    await worker.send("worker", "/", { n: 1 }, { delayMs: 250, messageId: "m" });
    const box = bench.broker.deadLetters("worker");
    await eventually(async () => (await box.count()) === 1, "the letter");
    assert.deepEqual(attempts, [1, 2]);
    const { properties } = await bench.takeDead("worker");
    assert.match(String(properties.headers?.["confluo-due"]), /^\d{4}-.*Z$/);
    assert.equal(typeof properties.timestamp, "number");
  });

  it("longer than one pass go round again, and keep what they are", async (bench) => {
    const seen = signalled<unknown>();
    const began = performance.now();
    await bench.start("shop", (service) => service.subscribe("/e", ({ body }) => seen.resolve(body)));
    // As a message comes back that has a quarter of a second left.
    const headers = { "confluo-kind": "publish", "confluo-path": "/e", "confluo-wait": "250" };
    await bench.publishForeign("", bench.queue("shop", "inbox"), '"again"', { headers, appId: "shop" });
    assert.equal(await seen.promise, "again");
    assert.ok(performance.now() - began >= 240);
  });

  it("of an event without a path that can be published are a dead letter", async (bench) => {
    await bench.start("shop", (service) => service.route("/", () => 1));
    for (const path of ["/", `/${"x".repeat(300)}`])
      await bench.publishForeign("", bench.queue("shop", "inbox"), "1", {
        headers: { "confluo-kind": "publish", "confluo-path": path },
      });
    const box = bench.broker.deadLetters("shop");
    await eventually(async () => (await box.count()) === 2, "the letters");
    for (const { error, kind } of await box.list())
      assert.deepEqual([error?.code, kind], ["MALFORMED_MESSAGE", "event"]);
  });

  it("end as orphans where the inbox is gone, and are sent back as what they were", async (bench) => {
    const setUp = (service: Service): unknown => service.route("/", () => 1);
    const shop = await bench.start("shop", setUp);
    await shop.publish("/e", "event", { delayMs: 2_000, messageId: "e" });
    await shop.shutdown();
    await (await bench.foreign()).deleteQueue(bench.queue("shop", "inbox"));
    const box = bench.broker.orphans();
    await eventually(async () => (await box.count()) === 1, "the orphan");
    const [orphan] = await box.list();
    assert.deepEqual(
      [orphan?.queue, orphan?.kind, orphan?.path],
      [bench.queue("shop", "inbox"), "event", "/e"],
    );
    const seen = signalled<unknown>();
    await bench.start("listener", (service) => service.subscribe("/e", ({ body }) => seen.resolve(body)));
    await bench.start("shop", setUp);
    assert.equal(await box.replay("all"), 1);
    assert.equal(await seen.promise, "event");
  });

  it("are counted for the service that they return to, until they are due", async (bench) => {
    await bench.start("worker", (service) => service.route("/", () => 1));
    const sender = await bench.start("sender", (service) => service.route("/", () => 1));
    const far = Date.now() + 3_600_000;
    await sender.send("worker", "/", 1, { at: new Date(far) });
    await sender.publish("/e", 1, { delayMs: 60_000 });
    // The last one, because the levels of an hour may take seconds to declare.
    await sender.send("worker", "/", 1, { delayMs: 3_000 });
    const told = await bench.broker.delayed();
    assert.deepEqual(
      told.map(({ service, messages }) => [service, messages]),
      [
        ["sender", 1],
        ["worker", 2],
      ],
    );
    assert.ok(Math.abs(Date.parse(told[1]?.until ?? "") - far) < 1_000);
    await eventually(async () => (await bench.broker.delayed())[1]?.messages === 1, "the one that is due");
    assert.equal((await bench.broker.overview()).delayed.length, 2);
  });

  it("stay when what failed and waits is tried again now", async (bench) => {
    const seen: string[] = [];
    const failing = (service: Service): unknown =>
      service
        .route("/fails", ({ attempt, messageId, body }) => {
          seen.push(`${messageId} ${attempt} ${body}`);
          if (attempt === 1) throw new ServiceError("busy", { retry: { afterMs: 600_000 } });
        })
        .subscribe("/e/:id", ({ attempt, params }) => {
          seen.push(`e ${attempt} ${params.id}`);
          if (attempt === 1) throw new ServiceError("busy", { retry: { afterMs: 1_000_000 } });
        });
    const worker = await bench.start("worker", failing, { retry: { attempts: 3 } });
    await bench.start("other", failing, { retry: { attempts: 3 } });
    for (const service of ["worker", "other"])
      await worker.send(service, "/fails", service, { messageId: `m-${service}` });
    await worker.publish("/e/7");
    await worker.send("worker", "/fails", "delayed", { delayMs: 600_000, messageId: "later" });
    await eventually(() => seen.length === 4, "what fails");
    await eventually(async () => (await waitingFor(bench)) === 5, "what waits");
    assert.equal(await bench.broker.retry("worker"), 2);
    await eventually(() => seen.length === 6, "the tries");
    assert.deepEqual(seen.slice(4).toSorted(), ["e 2 7", "m-worker 2 worker"]);
    assert.equal(await bench.broker.retry("worker"), 0);
    assert.equal(await waitingFor(bench), 3);
    assert.equal(await bench.broker.retry("nobody"), 0);
  });
};

/** The number of messages in the long levels of the delay queues, in which no instance tries the way back. */
async function waitingFor(bench: Bench): Promise<number> {
  const { delays: queues } = await bench.broker.overview();
  return queues.filter(({ ms }) => ms > 64_000).reduce((sum, { messages }) => sum + messages, 0);
}
