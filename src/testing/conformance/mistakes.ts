/** What handlers, middleware, loggers and schemas do wrong: nothing is lost for it, and nothing hangs. */

import assert from "node:assert/strict";
import { command, event } from "../../contract/index.ts";
import { isConfluoError, type Middleware, Service, ServiceError } from "../../index.ts";
import { eventually } from "../eventually.ts";
import { type Define, rejection, signalled } from "./suite.ts";

const never = {
  "~standard": { version: 1, vendor: "none", validate: () => new Promise<never>(() => undefined) },
} as const;

export const mistakes: Define = (it) => {
  it("answers, dead-letters and goes on though its logger throws", async (bench) => {
    const fail = (): never => {
      throw new Error("the disk is full");
    };
    const broken = { debug: fail, info: fail, warn: fail, error: fail };
    const quiet = console.error;
    console.error = () => undefined; // where the lines go then
    try {
      await bench.start(
        "worker",
        (service) => {
          service.route("/fails", () => Promise.reject(new Error("no")));
          service.route("/", () => "fine");
        },
        { logger: broken },
      );
      const caller = await bench.start("caller");
      const error = await rejection(caller.call("worker", "/fails"));
      assert.ok(isConfluoError(error, "HANDLER_FAILED"), String(error));
      await caller.send("worker", "/fails");
      await bench.takeDead("worker");
      assert.equal((await caller.call("worker", "/")).body, "fine");
    } finally {
      console.error = quiet;
    }
  });

  it("answers whatever an error's fields hold", async (bench) => {
    const odd: Readonly<Record<string, object>> = {
      "code-number": { code: 404 },
      "code-null": { code: null },
      "message-object": { message: { a: 1 } },
      "message-undefined": { message: undefined },
      "status-string": { status: "404" },
      "status-200": { status: 200 },
    };
    await bench.start("odd", (service) => {
      service.route("/:how", ({ params }) => {
        const error = new ServiceError("plain", { status: 404, code: "GONE" });
        if (params.how !== "data-throws") throw Object.assign(error, odd[params.how]);
        throw Object.defineProperty(error, "data", {
          get() {
            throw new Error("hidden");
          },
        });
      });
    });
    const caller = await bench.start("caller");
    for (const how of [...Object.keys(odd), "data-throws"]) {
      const error = await rejection(caller.call("odd", `/${how}`, undefined, { timeoutMs: 5_000 }));
      assert.ok(isConfluoError(error) && error.name === "RemoteError", `${how}: ${error}`);
      assert.equal(error.status, how.startsWith("status") ? 500 : 404, how);
      assert.equal(error.code, how.startsWith("code") ? "SERVICE_ERROR" : "GONE", how);
      await caller.send("odd", `/${how}`);
      await bench.takeDead("odd");
    }
  });

  it("settles a call, a send and a publish whose schema never does", async (bench) => {
    const stuck = command("stuck", "/", { input: never });
    const told = event("/stuck", { body: never });
    const caller = await bench.start("caller");
    for (const attempt of [
      (options: object) => caller.call(stuck, 1, options),
      (options: object) => caller.send(stuck, 1, options),
      (options: object) => caller.publish(told, 1, options),
    ]) {
      assert.ok(isConfluoError(await rejection(attempt({ timeoutMs: 50 })), "TIMEOUT"));
      const cancel = new AbortController();
      const cancelled = rejection(attempt({ signal: cancel.signal }));
      cancel.abort();
      assert.ok(isConfluoError(await cancelled, "CANCELLED"));
    }
  });

  it("settles a call whose answer's schema never does", async (bench) => {
    await bench.start("answerer", (service) => service.route("/", () => 1));
    const caller = await bench.start("caller");
    const asked = command("answerer", "/", { output: never });
    const error = await rejection(caller.call(asked, undefined, { timeoutMs: 200 }));
    assert.ok(isConfluoError(error, "TIMEOUT"), String(error));
  });

  it("frees the place of a message whose schema never settles", async (bench) => {
    const stuck = command("worker", "/stuck", { input: never });
    const worker = await bench.start(
      "worker",
      (service) => {
        service.route(stuck, () => 1, { timeoutMs: 200 });
        service.route("/", () => "free");
      },
      { concurrency: { calls: 1, inbox: 1 } },
    );
    const caller = await bench.start("caller", undefined, { validate: "receiver" });
    const error = await rejection(caller.call(stuck, 1, { timeoutMs: 200 }));
    assert.ok(isConfluoError(error, "TIMEOUT"), String(error));
    assert.equal((await caller.call("worker", "/")).body, "free");
    await caller.send(stuck, 1);
    await caller.send("worker", "/stuck-no-more");
    assert.equal((await bench.takeDead("worker")).properties.headers?.["confluo-error"], "TIMEOUT");
    await bench.takeDead("worker");
    await worker.shutdown();
  });

  it("lets what a handler leaves running call after the handler's deadline", async (bench) => {
    const later = signalled<unknown>();
    await bench.start("inner", (service) => service.route("/", () => "inner"));
    const outer = await bench.start("outer", (service) => {
      service.route("/", () => {
        setTimeout(() => later.resolve(outer.call("inner", "/")), 400);
        return "at once";
      });
    });
    const caller = await bench.start("caller");
    await caller.call("outer", "/", undefined, { timeoutMs: 200 });
    assert.equal(((await later.promise) as { readonly body: unknown }).body, "inner");
  });

  it("sends what was there when the verb was called", async (bench) => {
    const got = signalled<unknown>();
    const service = await bench.start("copy", (copy) => {
      copy.subscribe("/e", ({ body, headers }) => got.resolve([...(body as Uint8Array), headers.h]));
    });
    const bytes = new Uint8Array([1, 2, 3]);
    const headers = { h: "before" };
    const published = service.publish("/e", bytes, { headers });
    bytes.fill(9);
    headers.h = "after";
    await published;
    assert.deepEqual(await got.promise, [1, 2, 3, "before"]);
  });

  it("outlives middleware that does not wait for next(), and refuses what is no reply", async (bench) => {
    const hasty: Middleware = async (_, next) => {
      void next();
      throw new ServiceError("not today", { status: 403 });
    };
    const answers = (reply: unknown): Middleware => (async () => reply) as unknown as Middleware;
    const headers = {};
    const broken = [answers({ status: 99, headers }), answers({ status: 700, headers }), answers(undefined)];
    for (const [n, middleware] of [hasty, ...broken].entries()) {
      await bench.start(`wrapped${n}`, (service) => {
        service.use(middleware);
        service.route("/", () => Promise.reject(new Error("late")));
      });
    }
    const caller = await bench.start("caller");
    const error = await rejection(caller.call("wrapped0", "/"));
    assert.ok(isConfluoError(error) && error.status === 403, String(error));
    for (const n of [1, 2, 3]) {
      assert.ok(isConfluoError(await rejection(caller.call(`wrapped${n}`, "/")), "HANDLER_FAILED"));
    }
  });

  it("refuses options that are none, with an error that names them", async (bench) => {
    const service = await bench.start("fussy", (fussy) => fussy.route("/", () => 1));
    const as = (value: unknown): never => value as never;
    const signals = [1, {}, { aborted: false }, { aborted: false, addEventListener() {} }];
    for (const options of [
      null,
      5,
      "x",
      [],
      { timeoutMS: 5 },
      { timeoutMs: "5" },
      ...signals.map((signal) => ({ signal })),
    ]) {
      for (const attempt of [
        () => service.call("fussy", "/", 1, as(options)),
        () => service.send("fussy", "/", 1, as(options)),
        () => service.publish("/e", 1, as(options)),
        () => service.connect(undefined, as(options)),
        () => service.shutdown(as(options)),
        () => service.run(undefined, as(options)),
      ]) {
        assert.ok(isConfluoError(await rejection(attempt()), "INVALID_ARGUMENT"), JSON.stringify(options));
      }
      assert.throws(() => service.route("/r", () => 1, as(options)), { code: "INVALID_ARGUMENT" });
      assert.throws(() => service.subscribe("/s", () => 1, as(options)), { code: "INVALID_ARGUMENT" });
    }
    for (const options of [
      null,
      5,
      { concurrency: 5 },
      { concurrency: null },
      { concurrency: { call: 5 } },
      { concurrency: { waiting: 0 } },
      { concurrency: { waiting: 1.5 } },
      { concurrency: { waiting: 65_537 } },
      { logger: null },
      { logger: { warn() {} } },
      { broker: 5 },
      { broker: "localhost:5672" },
      { timeoutMs: null },
      { nme: 1 },
    ]) {
      assert.throws(
        () => new Service("x", as(options)),
        { code: "INVALID_ARGUMENT" },
        JSON.stringify(options),
      );
    }
    const open = (options: unknown) => bench.broker.openClient(as(options));
    for (const options of [null, 5, { signal: 1 }, { timeoutMs: 0 }, { name: "q" }]) {
      assert.ok(isConfluoError(await rejection(open(options)), "INVALID_ARGUMENT"), JSON.stringify(options));
    }
    for (const name of [5, "", "x".repeat(256)]) {
      const error = await rejection(bench.broker.queue(as(name)));
      assert.ok(isConfluoError(error, "INVALID_ARGUMENT"), String(error));
    }
    const gone = await rejection(bench.broker.queue("q", { signal: AbortSignal.abort(new Error("gone")) }));
    assert.ok(isConfluoError(gone, "CANCELLED"), String(gone));
    const typo = await rejection(service.call("fussy", "/", 1, as({ timeoutMS: 5 })));
    assert.match(String(typo), /"timeoutMS".*timeoutMs/);
    assert.equal(service.state, "running");
  });

  it("refuses contracts that are none, and a reply without options", async (bench) => {
    const service = await bench.start("fussy", (fussy) =>
      fussy.route("/", ({ reply }) => reply(1, null as never)),
    );
    const shape = { kind: "command", service: "fussy" };
    for (const contract of [
      { ...shape, path: 5 },
      { ...shape, path: "/", errors: null },
      { kind: "command", path: "/" },
      Object.freeze({ ...shape, path: "/", input: 5 }),
      5,
      null,
    ]) {
      for (const verb of ["call", "send"] as const) {
        const error = await rejection(service[verb](contract as never, {} as never));
        assert.ok(isConfluoError(error, "INVALID_ARGUMENT"), `${JSON.stringify(contract)} ${error}`);
      }
    }
    for (const [verb, attempt] of Object.entries({
      id: () => service.send("nobody", "/", 1, { messageId: "\uD800" }),
      header: () => service.send("nobody", "/", 1, { headers: { h: "\uD800" } }),
      name: () => service.publish("/e", 1, { headers: { "\uD800": "h" } }),
      promise: () => service.call("fussy", "/", Promise.resolve(1)),
      error: () => service.publish("/e", new Error("x")),
    })) {
      const error = await rejection(attempt());
      assert.ok(isConfluoError(error, "INVALID_ARGUMENT"), `${verb}: ${error}`);
    }
    const [addressed, happened] = [command("fussy", "/o/:id").at({ id: 7 }), event("/o/:id").at({ id: 7 })];
    assert.throws(() => service.route(addressed, () => 1), { code: "INVALID_ARGUMENT" });
    assert.throws(() => service.subscribe(happened, () => 1), { code: "INVALID_ARGUMENT" });
    assert.throws(() => service.subscribe("/d/:id/:id", () => 1), { code: "INVALID_ARGUMENT" });
    const code = Symbol("code") as never;
    assert.throws(() => command("fussy", "/").error(code, undefined as never), { code: "INVALID_ARGUMENT" });
    const refused = await rejection(service.publish({ kind: "event", path: 5 } as never, 1 as never));
    assert.ok(isConfluoError(refused, "INVALID_ARGUMENT"), String(refused));
    const answer = await rejection(service.call("fussy", "/"));
    assert.match(String(answer), /options of reply must be an object, got null/);
  });

  it("rejects with a stack that leads to the caller", async (bench) => {
    const caller = await bench.start("caller");
    async function whoCalls(): Promise<unknown> {
      return await caller.call("nobody", "/");
    }
    const error = await rejection(whoCalls());
    assert.match((error as Error).stack ?? "", /whoCalls/);
  });

  it("keeps handling one-way commands and events beside one that never ends", async (bench) => {
    let handled = 0;
    const worker = await bench.start("worker", (service) => {
      service.subscribe("/stuck", () => new Promise(() => undefined));
      service.subscribe("/fine", () => {
        handled += 1;
      });
    });
    await worker.publish("/stuck");
    for (let n = 0; n < 10; n += 1) await worker.publish("/fine");
    await eventually(() => handled === 10, "the others");
    await worker.shutdown({ timeoutMs: 50 });
  });
};
