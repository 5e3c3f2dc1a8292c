/** Calls, from the caller's chair. */

import assert from "node:assert/strict";
import { isConfluoError, type MessageKind, stateKey } from "../../index.ts";
import { eventually } from "../eventually.ts";
import { type Define, rejection, signalled } from "./suite.ts";

export const calls: Define = (it) => {
  it("answers a call with what the handler returns", async (bench) => {
    await bench.start("answerer", (service) =>
      service.route("/bar", ({ body }) => ({ value: 1, got: body })),
    );
    const caller = await bench.start("caller");
    const reply = await caller.call("answerer", "/bar", { data: "some" });
    assert.deepEqual(reply, { status: 200, headers: {}, body: { value: 1, got: { data: "some" } } });
  });

  it("shows the handler path, parameters, query, headers, sender and message id", async (bench) => {
    const seen = signalled<object>();
    await bench.start("answerer", (service) => {
      service.route(
        "/orders/:id/lines/:line",
        ({ kind, path, params, query, headers, from, messageId, attempt, redelivered }) => {
          seen.resolve({
            kind,
            path,
            params,
            query,
            headers,
            from,
            attempt,
            redelivered,
            identified: messageId !== "",
          });
        },
      );
    });
    const caller = await bench.start("caller");
    await caller.call("answerer", "orders/7/lines/ö 2?a=1&a=2", undefined, {
      query: { b: true },
      headers: { trace: "t1" },
    });
    assert.deepEqual(await seen.promise, {
      kind: "call" satisfies MessageKind,
      path: "/orders/7/lines/ö 2",
      params: { id: "7", line: "ö 2" },
      query: { a: ["1", "2"], b: "true" },
      headers: { trace: "t1" },
      from: "caller",
      attempt: 1,
      redelivered: false,
      identified: true,
    });
  });

  it("carries any JSON value, nothing at all, and bytes untouched", async (bench) => {
    await bench.start("echo", (service) => service.route("/", ({ body }) => body));
    const caller = await bench.start("caller");
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
    const values = [
      null,
      true,
      0,
      -1.5,
      "",
      "ü€😀",
      [],
      {},
      [1, [2]],
      { a: { b: null } },
      undefined,
      bytes,
      new Uint8Array(0),
    ];
    for (const value of values) {
      const { body } = await caller.call("echo", "/", value);
      assert.deepEqual(body, value);
    }
  });

  it("refuses what JSON would empty, and names its place", async (bench) => {
    await bench.start("lists", (service) => service.route("/", () => ({ tags: [new Set(["a"])] })));
    const caller = await bench.start("caller");
    const body = { items: [1, { when: new Map() }] };
    for (const attempt of [
      caller.call("lists", "/", body),
      caller.send("lists", "/", body),
      caller.publish("/listed", body),
    ]) {
      const error = await rejection(attempt);
      assert.ok(isConfluoError(error, "INVALID_ARGUMENT"), String(error));
      assert.match(error.message, /body\.items\[1\]\.when must be a JSON value/);
    }
    const error = await rejection(caller.call("lists", "/"));
    assert.ok(isConfluoError(error, "INVALID_OUTPUT"), String(error));
    assert.match(error.message, /body\.tags\[0\] must be a JSON value \(make an object or an array of it\)/);
  });

  it("takes headers and queries as pairs", async (bench) => {
    await bench.start("echo", (service) =>
      service.route("/", ({ query, headers, reply }) =>
        reply({ query, headers }, { headers: new Map([["served", "yes"]]) }),
      ),
    );
    const caller = await bench.start("caller");
    const headers = new Headers({ trace: "t1" });
    const query = new URLSearchParams("a=2&b=3");
    assert.deepEqual(await caller.call("echo", "/?a=1", undefined, { query, headers }), {
      status: 200,
      headers: { served: "yes" },
      body: { query: { a: ["1", "2"], b: "3" }, headers: { trace: "t1" } },
    });
  });

  it("gives a status and headers of the handler's own", async (bench) => {
    await bench.start("answerer", (service) => {
      service.route("/made", ({ reply }) =>
        reply({ id: 7 }, { status: 201, headers: { location: "/made/7" } }),
      );
    });
    const caller = await bench.start("caller");
    const reply = await caller.call("answerer", "/made");
    assert.deepEqual(reply, { status: 201, headers: { location: "/made/7" }, body: { id: 7 } });
  });

  it("gives a context that has the same when it is spread, the signal and the state with it", async (bench) => {
    const user = stateKey<string>("user");
    await bench.start("answerer", (service) => {
      service.use((context, next) => {
        context.set(user, "ada");
        return next();
      });
      service.route("/spread/:id", (context) => {
        const { signal, get, set, reply, ...told } = { ...context };
        set(user, `${get(user)} and bob`);
        assert.equal(signal, context.signal);
        return reply({ told, user: context.get(user), isAborted: signal.aborted });
      });
    });
    const caller = await bench.start("caller");
    const options = { headers: { a: "1" }, query: { page: 2, size: undefined } };
    const { body } = await caller.call("answerer", "/spread/7", "hello", options);
    const { messageId, ...told } = (body as { readonly told: Readonly<Record<string, unknown>> }).told;
    assert.equal(typeof messageId, "string");
    assert.deepEqual(body, {
      told: {
        kind: "call",
        path: "/spread/7",
        params: { id: "7" },
        query: { page: "2" },
        headers: { a: "1" },
        body: "hello",
        messageId,
        from: "caller",
        attempt: 1,
        redelivered: false,
      },
      user: "ada and bob",
      isAborted: false,
    });
    assert.equal(Object.keys(told).length, 9);
  });

  it("rejects with TIMEOUT at the deadline and fires the handler's signal", async (bench) => {
    const fired = signalled();
    await bench.start("slow", (service) => {
      service.route("/", ({ signal }) => {
        signal.addEventListener("abort", () => fired.resolve());
        return new Promise(() => undefined);
      });
    });
    const caller = await bench.start("caller");
    const error = await rejection(caller.call("slow", "/", undefined, { timeoutMs: 150 }));
    assert.ok(isConfluoError(error, "TIMEOUT"), String(error));
    await fired.promise;
  });

  it("does not run a call that expired while it waited", async (bench) => {
    const ran: unknown[] = [];
    const free = signalled();
    await bench.start(
      "busy",
      (service) => {
        service.route("/", async ({ body }) => {
          ran.push(body);
          if (body === "first") await free.promise;
        });
      },
      { concurrency: { calls: 1 } },
    );
    const caller = await bench.start("caller");
    const first = caller.call("busy", "/", "first");
    await eventually(() => ran.length === 1, "the first call");
    await rejection(caller.call("busy", "/", "late", { timeoutMs: 100 }));
    // The broker's clock for it began a moment later than the caller's.
    await eventually(async () => (await bench.depth("busy", "calls")) === 0, "the late call to expire");
    free.resolve();
    await first;
    await caller.call("busy", "/", "next");
    assert.deepEqual(ran, ["first", "next"]);
  });

  it("stops waiting when the caller's signal fires", async (bench) => {
    await bench.start("slow", (service) => service.route("/", () => new Promise(() => undefined)));
    const caller = await bench.start("caller");
    const stop = new AbortController();
    const pending = rejection(caller.call("slow", "/", undefined, { signal: stop.signal, timeoutMs: 2_000 }));
    stop.abort("enough");
    const error = await pending;
    assert.ok(isConfluoError(error, "CANCELLED") && error.cause === "enough", String(error));
    const late = await rejection(caller.call("slow", "/", undefined, { signal: stop.signal }));
    assert.ok(isConfluoError(late, "CANCELLED"), String(late));
  });

  it("lets nested calls inherit what is left of the deadline", async (bench) => {
    const nested = signalled<unknown>();
    await bench.start("inner", (service) => service.route("/", () => new Promise(() => undefined)));
    await bench.start("outer", (service) => {
      service.route("/", async () =>
        nested.resolve(await rejection(service.call("inner", "/", undefined, { timeoutMs: 15_000 }))),
      );
    });
    const caller = await bench.start("caller");
    await caller.call("outer", "/", undefined, { timeoutMs: 300 }).catch(() => undefined);
    const error = await nested.promise;
    assert.ok(isConfluoError(error, "TIMEOUT"), String(error));
  });

  it("shares the calls of a service among its instances", async (bench) => {
    const count = [0, 0];
    for (const i of [0, 1]) {
      await bench.start("pool", (service) => {
        service.route("/", async () => {
          count[i] = (count[i] ?? 0) + 1;
          await new Promise((resolve) => setTimeout(resolve, 2));
        });
      });
    }
    const caller = await bench.start("caller");
    await Promise.all(Array.from({ length: 100 }, () => caller.call("pool", "/")));
    assert.equal((count[0] ?? 0) + (count[1] ?? 0), 100);
    assert.ok(Math.min(...count) > 10, `uneven: ${count}`);
  });

  it("answers 1,000 calls at once, each with its own answer", async (bench) => {
    await bench.start("echo", (service) =>
      service.route("/:n", ({ params, body }) => ({ n: params.n, body })),
    );
    const caller = await bench.start("caller");
    const replies = await Promise.all(
      Array.from({ length: 1_000 }, (_, i) => caller.call("echo", `/${i}`, i)),
    );
    replies.forEach((reply, i) => {
      assert.deepEqual(reply.body, { n: String(i), body: i });
    });
    assert.equal(await bench.depth("echo", "calls"), 0);
  });

  it("lets a service call itself", async (bench) => {
    const service = await bench.start("self", (self) => {
      self.route("/outer", async () => (await self.call("self", "/inner")).body);
      self.route("/inner", () => "inner");
    });
    assert.equal((await service.call("self", "/outer")).body, "inner");
  });

  it("answers with INVALID_OUTPUT what JSON cannot carry", async (bench) => {
    await bench.start("answerer", (service) => {
      const cycle: Record<string, unknown> = {};
      cycle.self = cycle;
      service.route("/", () => cycle);
    });
    const caller = await bench.start("caller");
    const error = await rejection(caller.call("answerer", "/"));
    assert.ok(isConfluoError(error, "INVALID_OUTPUT"), String(error));
  });

  it("runs middleware around handlers, first registered outermost", async (bench) => {
    const order: string[] = [];
    await bench.start("answerer", (service) => {
      for (const name of ["a", "b"]) {
        service.use(async (_, next) => {
          order.push(`${name} in`);
          const reply = await next();
          order.push(`${name} out`);
          return { ...reply, headers: { ...reply.headers, [name]: "seen" } };
        });
      }
      service.route("/", () => {
        order.push("handler");
        return 1;
      });
    });
    const caller = await bench.start("caller");
    const reply = await caller.call("answerer", "/");
    assert.deepEqual(reply, { status: 200, headers: { a: "seen", b: "seen" }, body: 1 });
    assert.deepEqual(order, ["a in", "b in", "handler", "b out", "a out"]);
  });
};
