/** Calls of one turn in one message: each of them as if it had travelled by itself. */

import assert from "node:assert/strict";
import { command } from "../../contract/index.ts";
import { isConfluoError, RemoteError, type Service, ServiceError } from "../../index.ts";
import { eventually } from "../eventually.ts";
import { schemaOf } from "../schema-of.ts";
import { absent, CALLS, entriesIn, queued, standIn, untilQueued } from "./mailbox.ts";
import { type Bench, type Define, oneByOne, rejection, signalled } from "./suite.ts";

const numbers = (count: number): readonly number[] => Array.from({ length: count }, (_, n) => n);

export const gathering: Define = (it) => {
  it("sends the calls of a turn to one service in as few messages as they fit in, and answers all", async (bench) => {
    for (const [options, messages] of [
      [undefined, 3], // 16, 16 and 8
      [{ batching: { maxCalls: 40 } }, 1],
      [oneByOne, 40],
    ] as const) {
      const caller = await eager(bench, options);
      const calls = await queued(bench, {
        caller,
        messages,
        call: () => numbers(40).map((n) => caller.call("worker", `/${n}`, n)),
      });
      const worker = await bench.start("worker", (service) =>
        service.route("/:n", ({ params, body }) => [params.n, body]),
      );
      const bodies = (await Promise.all(calls)).map(({ body }) => body);
      assert.deepEqual(
        bodies,
        numbers(40).map((n) => [String(n), n]),
      );
      assert.equal(await bench.depth("worker", "calls"), 0);
      await worker.shutdown();
      await caller.shutdown();
    }
  });

  it("sends the calls of a turn to each service in a message of its own", async (bench) => {
    const caller = await eager(bench);
    for (const name of ["worker", "other"]) await absent(bench, name);
    const calls = numbers(8).map((n) => caller.call(n % 2 === 0 ? "worker" : "other", "/", n));
    for (const name of ["worker", "other"]) await untilQueued(bench, name, 1);
    for (const name of ["worker", "other"])
      await bench.start(name, (service) => service.route("/", ({ body }) => [name, body]));
    const bodies = (await Promise.all(calls)).map(({ body }) => body);
    assert.deepEqual(
      bodies,
      numbers(8).map((n) => [n % 2 === 0 ? "worker" : "other", n]),
    );
  });

  it("gives each call of a message its own outcome", async (bench) => {
    const text = schemaOf<string, string>("text", (value) =>
      typeof value === "string" ? { value } : undefined,
    );
    const typed = command("worker", "/typed", { input: text, output: text });
    const caller = await eager(bench, { validate: "receiver" });
    const outcome = (call: Promise<unknown>): Promise<unknown> => call.catch((error: unknown) => error);
    const call = (path: string, body?: unknown, options = {}): Promise<unknown> =>
      outcome(caller.call("worker", path, body, options));
    const calls = await queued(bench, {
      caller,
      messages: 1,
      call: () => [
        call("/echo", { n: 1 }),
        call("/made"),
        call("/refused", 7),
        call("/broken"),
        call("/unknown"),
        outcome(caller.call(typed, 5 as never)),
        outcome(caller.call(typed, "fine")),
        call("/echo"),
        call("/echo", null),
        call("/seen/ö 2/x?a=1&a=2", "ü€😀\u2028", { query: { b: true }, headers: { trace: "t€", n: "1" } }),
        call("/conflict"),
      ],
    });
    await bench.start("worker", (service) =>
      service
        .route("/echo", ({ body }) => body)
        .route("/made", ({ reply }) => reply({ id: 7 }, { status: 201, headers: { location: "/€" } }))
        .route("/refused", ({ body }) => {
          throw new ServiceError("no such €", { status: 404, code: "NO_SUCH", data: { id: body } });
        })
        .route("/broken", () => {
          throw new TypeError("x is not a function");
        })
        .route(typed, ({ body }) => body.toUpperCase())
        .route("/seen/:name/:what", ({ kind, path, params, query, headers, body, from, redelivered }) => {
          return { kind, path, params, query, headers, body, from, redelivered };
        })
        .route("/conflict", ({ reply }) => reply({ why: "no" }, { status: 409 })),
    );
    const outcomes = (await Promise.all(calls)).map((each) =>
      each instanceof RemoteError ? [each.status, each.code, each.message, each.data] : each,
    );
    const plain = { status: 200, headers: {} } as const;
    const problems = [{ path: "", message: "expected text" }];
    assert.deepEqual(outcomes, [
      { ...plain, body: { n: 1 } },
      { status: 201, headers: { location: "/€" }, body: { id: 7 } },
      [404, "NO_SUCH", "no such €", { id: 7 }],
      [500, "HANDLER_FAILED", "x is not a function", undefined],
      [404, "NO_SUCH_ROUTE", 'worker has no route for "/unknown".', undefined],
      [400, "INVALID_INPUT", "The input of /typed is not valid: expected text.", { problems }],
      { ...plain, body: "FINE" },
      { ...plain, body: undefined },
      { ...plain, body: null },
      {
        ...plain,
        body: {
          kind: "call",
          path: "/seen/ö 2/x",
          params: { name: "ö 2", what: "x" },
          query: { a: ["1", "2"], b: "true" },
          headers: { trace: "t€", n: "1" },
          body: "ü€😀\u2028",
          from: "caller",
          redelivered: false,
        },
      },
      [409, "SERVICE_ERROR", "worker answered /conflict with status 409.", { why: "no" }],
    ]);
  });

  it("sends bytes, and what takes over an eighth of a message, by themselves", async (bench) => {
    const caller = await eager(bench, { batching: { maxBytes: 8_192 } });
    const large = "x".repeat(1_023); // and two quotes
    const bodies = [1, Uint8Array.of(0, 255), 2, large, 3, new Uint8Array(0), 4, "x".repeat(1_022)];
    const calls = await queued(bench, {
      caller,
      messages: 4,
      call: () => bodies.map((body) => caller.call("worker", "/", body)),
    });
    const worker = await bench.start("worker", (service) => service.route("/", ({ body }) => body));
    assert.deepEqual(
      (await Promise.all(calls)).map(({ body }) => body),
      bodies,
    );
    await worker.shutdown();
  });

  it("answers with bytes, and with more than fits, by themselves", async (bench) => {
    const caller = await eager(bench);
    const answers = [Uint8Array.of(1, 2), "x".repeat(70_000), "small", new Uint8Array(0), undefined];
    const calls = await queued(bench, {
      caller,
      messages: 1,
      call: () => answers.map((_, n) => caller.call("worker", "/", n)),
    });
    await bench.start("worker", (service) => service.route("/", ({ body }) => answers[body as number]));
    assert.deepEqual(
      (await Promise.all(calls)).map(({ body }) => body),
      answers,
    );
  });

  it("puts no more bytes of bodies into a message than it is told", async (bench) => {
    const caller = await eager(bench, { batching: { maxCalls: 256, maxBytes: 8_192 } });
    await absent(bench, "worker");
    const { messages } = await standIn(bench, "worker");
    const bodies = numbers(100).map((n) => (n % 2 === 0 ? "x" : "€").repeat(3 * n));
    const stop = new AbortController();
    const calls = bodies.map((body) => rejection(caller.call("worker", "/", body, { signal: stop.signal })));
    await eventually(() => messages.flatMap(entriesIn).length === bodies.length, "all calls");
    assert.ok(messages.length < 10, `${messages.length} messages`);
    for (const message of messages) assert.ok(bodyBytes(entriesIn(message)) <= 8_192);
    stop.abort();
    await Promise.all(calls);
  });

  it("lets one of several time out alone, and tells its handler by its signal", async (bench) => {
    const caller = await eager(bench);
    const fired = signalled();
    const calls = await queued(bench, {
      caller,
      messages: 1,
      call: () =>
        ["/", "/never", "/"].map((path) => caller.call("worker", path, undefined, { timeoutMs: 2_000 })),
    });
    const worker = await bench.start("worker", (service) =>
      service
        .route("/", () => "answered")
        .route("/never", ({ signal }) => {
          signal.addEventListener("abort", () => fired.resolve());
          return new Promise(() => undefined);
        }),
    );
    const [first, second, third] = calls as [Promise<unknown>, Promise<unknown>, Promise<unknown>];
    await Promise.all([first, third]);
    assert.ok(isConfluoError(await rejection(second), "TIMEOUT"));
    await fired.promise;
    await worker.shutdown();
  });

  it("does not run one that was queued past its deadline, and runs its neighbours of the same turn", async (bench) => {
    const caller = await eager(bench);
    const patience = [60_000, 800, 60_000, 800, 800, 60_000];
    const calls = await queued(bench, {
      caller,
      messages: 5,
      call: () => patience.map((timeoutMs, n) => caller.call("worker", "/", n, { timeoutMs })),
    });
    const late = [1, 3, 4].map((n) => calls[n] as Promise<unknown>);
    for (const call of late) assert.ok(isConfluoError(await rejection(call), "TIMEOUT"));
    // The broker's clock for them began a moment later than the caller's.
    await new Promise((resolve) => setTimeout(resolve, 50));
    const ran: unknown[] = [];
    await bench.start("worker", (service) => service.route("/", ({ body }) => void ran.push(body)));
    await Promise.all([0, 2, 5].map((n) => calls[n]));
    assert.deepEqual(ran.toSorted(), [0, 2, 5]);
  });

  it("does not run one that was queued past its deadline behind a message that was full", async (bench) => {
    const caller = await eager(bench, { batching: { maxBytes: 1_024 } });
    const body = "x".repeat(126);
    const patience = [...numbers(9).map(() => 300), 60_000];
    await absent(bench, "worker");
    const calls = patience.map((timeoutMs, n) => caller.call("worker", `/${n}`, body, { timeoutMs }));
    for (const call of calls.slice(0, 9)) assert.ok(isConfluoError(await rejection(call), "TIMEOUT"));
    // The broker's clock for them began a moment later than the caller's.
    await new Promise((resolve) => setTimeout(resolve, 50));
    const ran: unknown[] = [];
    await bench.start("worker", (service) => service.route("/:n", ({ params }) => void ran.push(params.n)));
    await calls[9];
    assert.deepEqual(ran, ["9"]);
  });

  it("stops waiting for one whose signal fires, and for no other", async (bench) => {
    const caller = await eager(bench);
    const stop = new AbortController();
    const calls = await queued(bench, {
      caller,
      messages: 1,
      call: () =>
        numbers(3).map((n) => caller.call("worker", "/", n, n === 1 ? { signal: stop.signal } : {})),
    });
    stop.abort("enough");
    const [first, second, third] = calls as [Promise<unknown>, Promise<unknown>, Promise<unknown>];
    const error = await rejection(second);
    assert.ok(isConfluoError(error, "CANCELLED") && error.cause === "enough", String(error));
    await bench.start("worker", (service) => service.route("/", ({ body }) => body));
    await Promise.all([first, third]);
  });

  it("runs no more of a message at a time than there are places for calls", async (bench) => {
    bench.broker.gathersEagerly = true;
    let running = 0;
    let most = 0;
    const count = async (): Promise<void> => {
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setTimeout(resolve, 2));
      running -= 1;
    };
    await bench.start("worker", (service) => service.route("/", count), { concurrency: { calls: 2 } });
    const caller = await bench.start("caller");
    await Promise.all(numbers(48).map(() => caller.call("worker", "/")));
    assert.equal(most, 2);
  });

  it("does not run one that waited for a place past its deadline", async (bench) => {
    bench.broker.gathersEagerly = true;
    const ran: unknown[] = [];
    const run = (n: unknown): unknown => {
      ran.push(n);
      return n === 0 ? new Promise(() => undefined) : n;
    };
    const setUp = (service: Service): Service => service.route("/", ({ body }) => run(body));
    await bench.start("worker", setUp, { concurrency: { calls: 1 } });
    const caller = await bench.start("caller");
    // The first keeps the place until its own deadline, which is later, and not too late for one message.
    const calls = [550, 500, 500, 500].map((timeoutMs, n) =>
      rejection(caller.call("worker", "/", n, { timeoutMs })),
    );
    for (const error of await Promise.all(calls)) assert.ok(isConfluoError(error, "TIMEOUT"), String(error));
    assert.equal((await caller.call("worker", "/", "next")).body, "next");
    assert.deepEqual(ran, [0, "next"]);
  });

  it("runs middleware around each of several", async (bench) => {
    bench.broker.gathersEagerly = true;
    await bench.start("worker", (service) => {
      service.use(async ({ path }, next) => {
        if (path === "/1") throw new ServiceError("not this one", { status: 403 });
        const reply = await next();
        return { ...reply, headers: { ...reply.headers, path } };
      });
      service.route("/:n", ({ params }) => params.n);
    });
    const caller = await bench.start("caller");
    const calls = numbers(3).map((n) => caller.call("worker", `/${n}`).catch((error: unknown) => error));
    const [first, second, third] = await Promise.all(calls);
    assert.deepEqual(first, { status: 200, headers: { path: "/0" }, body: "0" });
    assert.ok(isConfluoError(second) && second.status === 403, String(second));
    assert.deepEqual(third, { status: 200, headers: { path: "/2" }, body: "2" });
  });

  it("lets nested calls of several inherit each what is left of its own deadline", async (bench) => {
    bench.broker.gathersEagerly = true;
    const nested = new Map<unknown, Promise<unknown>>();
    const setUp = (service: Service): Service => service.route("/:n", () => new Promise(() => undefined));
    const inner = await bench.start("inner", setUp);
    const outer = await bench.start("outer", (service) =>
      service.route("/:n", async ({ params: { n } }) => {
        const call = rejection(service.call("inner", `/${n}`, undefined, { timeoutMs: 60_000 }));
        nested.set(n, call);
        return String(await call);
      }),
    );
    const caller = await bench.start("caller");
    const began = performance.now();
    const stop = new AbortController();
    const calls = [1_000, 1_050, 15_000].map((timeoutMs, n) =>
      // At its own deadline the outer call has its answer or not: that is not the point.
      caller.call("outer", `/${n}`, undefined, { timeoutMs, signal: stop.signal }).catch(() => undefined),
    );
    await eventually(() => nested.size === 3, "all three");
    for (const n of ["0", "1"]) assert.ok(isConfluoError(await nested.get(n), "TIMEOUT"));
    assert.ok(performance.now() - began < 10_000);
    stop.abort();
    await Promise.all(calls);
    for (const service of [inner, outer]) await service.shutdown({ timeoutMs: 1 });
  });

  it("lets several call their own service, and that again, though all places are taken", async (bench) => {
    bench.broker.gathersEagerly = true;
    const setUp = (service: Service): Service =>
      service.route("/factorial", async ({ body }) => {
        const n = body as number;
        return n < 2 ? 1 : n * ((await service.call("self", "/factorial", n - 1)).body as number);
      });
    const self = await bench.start("self", setUp, { concurrency: { calls: 2 }, timeoutMs: 15_000 });
    const caller = await bench.start("caller");
    const calls = numbers(64).map(() => caller.call("self", "/factorial", 6));
    const own = numbers(16).map(() => self.call("self", "/factorial", 6));
    const answers = await Promise.all([...calls, ...own]);
    assert.deepEqual(new Set(answers.map(({ body }) => body)), new Set([720]));
  });

  it("rejects every call of a message to a service that does not exist", async (bench) => {
    const caller = await eager(bench);
    await bench.start("worker", (service) => service.route("/", () => "there"));
    const calls = numbers(40).map(() =>
      rejection(caller.call("nobody", "/", undefined, { timeoutMs: 15_000 })),
    );
    const there = numbers(8).map(() => caller.call("worker", "/"));
    for (const error of await Promise.all(calls))
      assert.ok(isConfluoError(error, "NO_SUCH_SERVICE"), String(error));
    assert.deepEqual(new Set((await Promise.all(there)).map(({ body }) => body)), new Set(["there"]));
  });

  it("says in a message what a foreign service has to know of each call", async (bench) => {
    const caller = await eager(bench, { timeoutMs: 15_000 });
    await absent(bench, "worker");
    const { messages } = await standIn(bench, "worker");
    const stop = new AbortController();
    const { signal } = stop;
    const calls = [
      caller.call("worker", "/a?q=1", { n: 1 }, { signal, headers: { h: "v" } }),
      caller.call("worker", "/b", undefined, { signal, timeoutMs: 14_500 }),
    ].map(rejection);
    await eventually(() => messages.length === 1, "the message");
    stop.abort();
    await Promise.all(calls);
    const [message] = messages as [(typeof messages)[number]];
    const [first, second] = entriesIn(message) as [{ id: string; ms: number }, { id: string; ms: number }];
    const { contentType, appId, expiration, replyTo } = message.properties;
    assert.deepEqual({ contentType, appId }, { contentType: CALLS, appId: "caller" });
    assert.ok(replyTo !== undefined && replyTo !== "" && first.id !== second.id);
    assert.deepEqual(
      [first, second],
      [
        { id: first.id, path: "/a", ms: first.ms, query: "q=1", headers: { h: "v" }, body: { n: 1 } },
        { id: second.id, path: "/b", ms: second.ms },
      ],
    );
    assert.ok(first.ms > 14_500 && first.ms <= 15_000 && second.ms > 14_000 && second.ms <= 14_500);
    assert.equal(expiration, String(first.ms));
  });
};

// A caller that gathers whatever it can, be it that the broker under test has services travel one by one.
async function eager(bench: Bench, options = {}): Promise<Service> {
  bench.broker.gathersEagerly = true;
  return bench.start("caller", undefined, options);
}

function bodyBytes(entries: readonly { readonly body?: unknown }[]): number {
  return entries.reduce((sum, { body }) => sum + Buffer.byteLength(JSON.stringify(body)), 0);
}
