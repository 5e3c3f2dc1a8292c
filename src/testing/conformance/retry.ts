/** What failed is tried again, alone and for a while; then it is a dead letter with its story. */

import assert from "node:assert/strict";
import { command } from "../../contract/index.ts";
import { type RetryOptions, Service, ServiceError } from "../../index.ts";
import { eventually } from "../eventually.ts";
import { type Define, signalled } from "./suite.ts";

/** As soon as a delay queue allows. */
const soon = { firstMs: 1, maxMs: 1 } as const;
const thrice: RetryOptions = { attempts: 3, backoff: soon };

export const retry: Define = (it) => {
  it("tries a command again until it succeeds, as the same message", async (bench) => {
    const tries: unknown[] = [];
    const served = signalled();
    const worker = await bench.start("worker", (service) => {
      service.route(
        "/task/:id",
        ({ kind, path, params, query, headers, body, messageId, from, attempt }) => {
          tries.push({ kind, path, params, query, headers, body, messageId, from, attempt });
          if (attempt < 3) throw new Error(`try ${attempt}`);
          served.resolve();
        },
        { retry: thrice },
      );
    });
    const manager = await bench.start("manager");
    const options = { messageId: "task-7", headers: { h: "kept" } };
    await manager.send("worker", "/task/7?urgent=yes", new Uint8Array([1, 2]), options);
    await served.promise;
    const expected = (attempt: number): object => ({
      kind: "send",
      path: "/task/7",
      params: { id: "7" },
      query: { urgent: "yes" },
      headers: { h: "kept" },
      body: new Uint8Array([1, 2]),
      messageId: "task-7",
      from: "manager",
      attempt,
    });
    assert.deepEqual(tries, [expected(1), expected(2), expected(3)]);
    await worker.shutdown();
    assert.equal(await bench.depth("worker", "inbox"), 0);
    assert.equal(await bench.depth("worker", "dead"), 0);
  });

  it("tries again only the subscription that failed", async (bench) => {
    const runs = { fine: 0, each: 0, failing: [] as number[] };
    const failing = signalled();
    const other = await bench.start("other", (service) => {
      service.subscribe("/orders/#", () => {
        runs.fine += 1;
      });
      const each = (): void => {
        runs.each += 1;
      };
      service.subscribe("/orders/*", each, { per: "instance" });
      service.subscribe(
        "/orders/:id",
        ({ attempt, params, kind }) => {
          runs.failing.push(attempt);
          assert.deepEqual([params.id, kind], ["7", "event"]);
          if (attempt === 1) throw new Error("not yet");
          failing.resolve();
        },
        { retry: thrice },
      );
    });
    await other.publish("/orders/7");
    await failing.promise;
    assert.deepEqual(runs, { fine: 1, each: 1, failing: [1, 2] });
  });

  it("tries again under a subscription whose parameter has another name by now", async (bench) => {
    const failed = signalled();
    const old = await bench.start("listener", (service) => {
      const fail = (): never => {
        failed.resolve();
        throw new Error("not yet");
      };
      service.subscribe("/orders/:id/placed", fail, { retry: thrice });
    });
    await old.publish("/orders/7/placed");
    await failed.promise;
    await old.shutdown();
    const handled = signalled<unknown>();
    await bench.start("listener", (service) =>
      service.subscribe("/orders/:order/placed", ({ params }) => handled.resolve(params)),
    );
    assert.deepEqual(await handled.promise, { order: "7" });
  });

  it("gives up after the last try, with the story of the first and the last", async (bench) => {
    let runs = 0;
    const worker = await bench.start("worker", (service) => {
      service.route(
        "/",
        ({ attempt }) => {
          runs += 1;
          throw new TypeError(`try ${attempt}`);
        },
        { retry: { attempts: 2, backoff: soon } },
      );
    });
    await worker.send("worker", "/", { n: 1 });
    const { properties, body } = await bench.takeDead("worker");
    const headers = properties.headers ?? {};
    assert.equal(runs, 2);
    assert.equal(headers["confluo-attempt"], "2");
    assert.equal(headers["confluo-error"], "HANDLER_FAILED");
    assert.equal(headers["confluo-error-name"], "TypeError");
    assert.equal(headers["confluo-error-message"], "try 2");
    assert.equal(headers["confluo-instance"], worker.instance);
    assert.match(String(headers["confluo-error-stack"]), /try 2/);
    const [first, last] = [headers["confluo-first-failed-at"], headers["confluo-failed-at"]].map((at) =>
      Date.parse(String(at)),
    );
    assert.ok((last ?? 0) - (first ?? 0) >= 240, `${first} ${last}`);
    assert.equal(new TextDecoder().decode(body), '{"n":1}');
    assert.equal(await bench.depth("worker", "inbox"), 0);
  });

  it("does not try again what an error says is final, what is not valid, or what nobody can read", async (bench) => {
    const strict = command("worker", "/strict", {
      input: {
        "~standard": {
          version: 1,
          vendor: "none",
          validate: () => ({ issues: [{ message: "never good enough" }] }),
        },
      },
    });
    const attempts: number[] = [];
    await bench.start(
      "worker",
      (service) => {
        service.route("/", ({ attempt }) => {
          attempts.push(attempt);
          throw new ServiceError("no such customer", { code: "GONE", retry: "never" });
        });
        service.route(strict, () => 1);
      },
      { retry: thrice },
    );
    const manager = await bench.start("manager", undefined, { validate: "receiver" });
    const codes: unknown[] = [];
    await manager.send("worker", "/");
    codes.push((await bench.takeDead("worker")).properties.headers?.["confluo-error"]);
    await manager.send(strict, 1);
    codes.push((await bench.takeDead("worker")).properties.headers?.["confluo-error"]);
    await bench.publishForeign("", bench.queue("worker", "inbox"), "{broken", { type: "/" });
    codes.push((await bench.takeDead("worker")).properties.headers?.["confluo-error"]);
    assert.deepEqual(codes, ["GONE", "INVALID_INPUT", "MALFORMED_MESSAGE"]);
    assert.deepEqual(attempts, [1]);
  });

  it("tries again when an error asks for it, after as many hops as that takes", async (bench) => {
    const times: number[] = [];
    const served = signalled();
    await bench.start("worker", (service) => {
      service.route(
        "/",
        ({ attempt }) => {
          times.push(performance.now());
          if (attempt === 1) throw new ServiceError("busy", { retry: { afterMs: 1_300 } });
          assert.equal(attempt, 2);
          served.resolve();
        },
        { retry: thrice },
      );
    });
    const manager = await bench.start("manager");
    await manager.send("worker", "/");
    await served.promise;
    const [first = 0, second = 0] = times;
    // 1,000 and 250 ms: to within the shortest level. Clocks of timers may be a moment early.
    assert.ok(second - first >= 1_240, `${second - first}`);
  });

  it("lets what nobody here handles go round until someone does", async (bench) => {
    const handled = signalled<unknown>();
    const off = new AbortController();
    const old = bench.create("shop", { unhandledRetryMs: 60_000 });
    old.subscribe("/paid/:id", () => undefined, { signal: off.signal });
    await old.connect();
    off.abort(); // bound at the broker, and no handler any more
    await old.publish("/paid/7", "cash");
    await old.send("shop", "/task");
    await eventually(
      () => bench.log.filter(({ message }) => message.includes("goes round")).length === 2,
      "both",
    );
    assert.equal(await bench.depth("shop", "dead"), 0);
    const both: unknown[] = [];
    const note = (of: unknown): void => {
      both.push(of);
      if (both.length === 2) handled.resolve(both.sort());
    };
    old.subscribe("/paid/:id", ({ params, body, attempt }) => note(`${params.id} ${body} ${attempt}`));
    old.route("/task", ({ attempt, kind }) => note(`${kind} ${attempt}`));
    await old.connect();
    assert.deepEqual(await handled.promise, ["7 cash 1", "send 1"]);
  });

  it("dead-letters what nobody handled when its grace is over", async (bench) => {
    const worker = await bench.start("worker", (service) => service.route("/", () => 1), {
      unhandledRetryMs: 400,
    });
    await worker.send("worker", "/nowhere");
    const { properties } = await bench.takeDead("worker");
    assert.equal(properties.headers?.["confluo-error"], "NO_SUCH_ROUTE");
    assert.equal(properties.headers?.["confluo-attempt"], "1");
  });

  it("counts what nobody handled once, however often it comes round, and its letter", async (bench) => {
    const worker = await bench.start("worker", (service) => service.route("/", () => 1), {
      unhandledRetryMs: 600,
    });
    await worker.send("worker", "/nowhere");
    await assert.rejects(worker.call("worker", "/nowhere"), { code: "NO_SUCH_ROUTE" });
    await bench.publishForeign("", bench.queue("worker", "inbox"), "1", {
      type: "/e",
      headers: { "confluo-subscription": "/e" },
      contentType: "application/json",
    });
    await eventually(async () => (await bench.depth("worker", "dead")) === 2, "the letters");
    assert.deepEqual(worker.stats().unmatched, { received: 3, deadLettered: 2 });
    assert.equal(worker.stats().routes[0]?.deadLettered, 0);
  });

  it("does not try again after the message has expired", async (bench) => {
    let runs = 0;
    await bench.start("worker", (service) => {
      service.route(
        "/",
        () => {
          runs += 1;
          throw new Error("no");
        },
        { retry: { attempts: 50, backoff: soon } },
      );
    });
    const manager = await bench.start("manager");
    await manager.send("worker", "/", 1, { expiresMs: 700 });
    await bench.takeDead("worker");
    assert.ok(runs >= 1 && runs <= 3, `${runs}`);
  });

  it("handles a message that failed once while others wait for their retry", async (bench) => {
    const done = new Set<number>();
    await bench.start("worker", (service) => {
      service.route(
        "/:n",
        ({ params, attempt }) => {
          if (attempt === 1 && Number(params.n) % 3 === 0) throw new Error("every third");
          done.add(Number(params.n));
        },
        { retry: thrice },
      );
    });
    const manager = await bench.start("manager");
    await Promise.all(Array.from({ length: 300 }, (_, n) => manager.send("worker", `/${n}`)));
    await eventually(() => done.size === 300, "all of them");
  });

  it("refuses retries that make no sense", async (bench) => {
    const service = bench.create("fussy");
    for (const given of [
      null,
      5,
      { attempts: 0 },
      { attempts: 1.5 },
      { tries: 3 },
      { backoff: { firstMs: -1 } },
      { backoff: { factor: 0.5 } },
      { backoff: { first: 1 } },
    ]) {
      const options = { retry: given as unknown as RetryOptions };
      assert.throws(() => service.route("/", () => 1, options), { code: "INVALID_ARGUMENT" });
      assert.throws(() => service.subscribe("/", () => 1, options), { code: "INVALID_ARGUMENT" });
      assert.throws(() => new Service("x", options), { code: "INVALID_ARGUMENT" });
    }
    for (const advice of ["soon", { afterMs: 0 }, { afterMs: "1" }, null]) {
      assert.throws(() => new ServiceError("x", { retry: advice as never }), { code: "INVALID_ARGUMENT" });
    }
    assert.throws(() => new Service("x", { unhandledRetryMs: -1 }), { code: "INVALID_ARGUMENT" });
  });
};
