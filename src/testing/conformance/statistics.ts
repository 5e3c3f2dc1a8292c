/** What instances have done, counted where it happened. */

import assert from "node:assert/strict";
import { type HandlerStats, quantile, type ServiceStats } from "../../index.ts";
import { eventually } from "../eventually.ts";
import { type Bench, type Define, rejection, signalled } from "./suite.ts";

async function statsOf(bench: Bench, service: string): Promise<ServiceStats> {
  const [stats] = await bench.broker.stats({ service });
  assert.ok(stats, `no statistics of ${service}`);
  return stats;
}

function counts({ handled, refused, failed, retried, deadLettered, inFlight }: HandlerStats): object {
  return { handled, refused, failed, retried, deadLettered, inFlight };
}

const none = { handled: 0, refused: 0, failed: 0, retried: 0, deadLettered: 0, inFlight: 0 };

export const statistics: Define = (it) => {
  it("count calls by route, over all instances", async (bench) => {
    const setUp = (service: Parameters<Parameters<Bench["start"]>[1] & object>[0]): unknown =>
      service
        .route("/add", ({ body }) => body)
        .route("/fail", () => {
          throw new Error("secret of the handler");
        })
        .route("/refuse", ({ reply }) => reply(undefined, { status: 404 }))
        .route("/unused", () => 1);
    await bench.start("math", setUp);
    await bench.start("math", setUp);
    const client = await bench.start("client");
    await Promise.all(Array.from({ length: 40 }, (_, n) => client.call("math", "/add", n)));
    await rejection(client.call("math", "/fail"));
    await rejection(client.call("math", "/refuse"));
    await rejection(client.call("math", "/nowhere"));
    const { routes, instances, queues } = await statsOf(bench, "math");
    const of = (path: string): HandlerStats => routes.find((route) => route.path === path) as never;
    assert.deepEqual(counts(of("/add")), { ...none, handled: 40 });
    assert.deepEqual(counts(of("/fail")), { ...none, failed: 1 });
    assert.deepEqual(counts(of("/refuse")), { ...none, refused: 1 });
    assert.deepEqual(
      { ...of("/unused"), path: "" },
      {
        ...none,
        path: "",
        waiting: 0,
        durations: [],
        recent: { ...of("/unused").recent, handled: 0, refused: 0, failed: 0, durations: [] },
        senders: [],
      },
    );
    assert.deepEqual(of("/add").senders, [{ service: "client", handled: 40, refused: 0, failed: 0 }]);
    assert.equal(of("/add").recent.handled, 40);
    assert.equal(of("/fail").lastError?.code, "HANDLER_FAILED");
    assert.equal(of("/refuse").lastRefusal?.code, "SERVICE_ERROR");
    assert.equal(of("/refuse").lastError, undefined);
    assert.equal(of("/add").lastError, undefined);
    const p99 = quantile(of("/add").durations, 0.99);
    assert.ok(p99 !== undefined && p99 < 5_000);
    assert.equal(instances.length, 2);
    const consumed = { messages: 0, consumers: 2 };
    const { calls, inbox, dead } = queues;
    assert.deepEqual([calls, inbox, dead], [consumed, consumed, { messages: 0, consumers: 0 }]);
    assert.equal(queues["inbox.again"]?.messages, 0);
  });

  it("count events and one-way commands, their retries and their ends", async (bench) => {
    await bench.start(
      "mail",
      (mail) => {
        mail.route("/send", () => undefined);
        mail.subscribe("/ok", () => undefined);
        mail.subscribe("/bad", () => {
          throw new Error("no");
        });
        mail.subscribe("/own", () => undefined, { per: "instance" });
      },
      { retry: { attempts: 2, backoff: { firstMs: 1 } } },
    );
    const client = await bench.start("client");
    await client.send("mail", "/send");
    for (const path of ["/ok", "/bad", "/own"]) await client.publish(path);
    await eventually(async () => (await bench.depth("mail", "dead")) === 1, "the dead letter");
    await eventually(async () => {
      const { subscriptions } = await statsOf(bench, "mail");
      return subscriptions.every(({ inFlight, handled, failed }) => inFlight === 0 && handled + failed > 0);
    }, "all of it");
    const { routes, subscriptions, queues } = await statsOf(bench, "mail");
    assert.deepEqual(routes.map(counts), [{ ...none, handled: 1 }]);
    assert.deepEqual(
      Object.fromEntries(subscriptions.map((stats) => [`${stats.per} ${stats.pattern}`, counts(stats)])),
      {
        "service /ok": { ...none, handled: 1 },
        "service /bad": { ...none, failed: 2, retried: 1, deadLettered: 1 },
        "instance /own": { ...none, handled: 1 },
      },
    );
    assert.equal(queues.dead?.messages, 1);
  });

  it("show what is under way, here and at the caller", async (bench) => {
    const [entered, leave] = [signalled(), signalled()];
    const math = await bench.start("math", (service) => {
      service.route("/slow", async () => {
        entered.resolve();
        await leave.promise;
      });
    });
    const client = await bench.start("client");
    const call = client.call("math", "/slow");
    await entered.promise;
    assert.equal(math.stats().routes[0]?.inFlight, 1);
    assert.equal(client.stats().calling, 1);
    assert.equal((await statsOf(bench, "math")).routes[0]?.inFlight, 1);
    leave.resolve();
    await call;
    assert.equal(client.stats().calling, 0);
    await eventually(() => math.stats().routes[0]?.inFlight === 0, "the end");
    assert.deepEqual(counts(math.stats().routes[0] as HandlerStats), { ...none, handled: 1 });
  });

  it("count a handler that took too long as failed, once", async (bench) => {
    const math = await bench.start("math", (service) => {
      service.route(
        "/slow",
        ({ signal }) => new Promise((resolve) => signal.addEventListener("abort", resolve)),
      );
    });
    const client = await bench.start("client");
    await rejection(client.call("math", "/slow", undefined, { timeoutMs: 200 }));
    await eventually(() => math.stats().routes[0]?.failed === 1, "the failure");
    assert.deepEqual(counts(math.stats().routes[0] as HandlerStats), { ...none, failed: 1 });
    assert.equal(math.stats().routes[0]?.lastError?.code, "TIMEOUT");
  });

  it("count what a shutdown gave back as no run", async (bench) => {
    const entered = signalled();
    const mail = await bench.start("mail", (service) => {
      service.subscribe("/slow", ({ signal }) => {
        entered.resolve();
        return new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("late"))));
      });
    });
    const client = await bench.start("client");
    await client.publish("/slow");
    await entered.promise;
    await mail.shutdown({ timeoutMs: 50 });
    assert.deepEqual(counts(mail.stats().subscriptions[0] as HandlerStats), none);
    assert.deepEqual(await bench.broker.stats({ service: "mail" }), []);
  });
};
