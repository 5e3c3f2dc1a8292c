/** Callbacks run outside of every `AsyncLocalStorage`, whoever connected, sent, was served before or set a timer. */

import assert from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import { command, type Service, type ServiceOptions } from "../../index.ts";
import { eventually } from "../eventually.ts";
import { schemaOf } from "../schema-of.ts";
import { type Bench, type Define, rejection, signalled } from "./suite.ts";

/** What an application keeps for each request. */
const tenants = new AsyncLocalStorage<string>();

/** Notes in which context it is called, under a name. */
class Sightings {
  readonly all: string[] = [];

  note(who: string): void {
    this.all.push(`${who}: ${tenants.getStore() ?? "none"}`);
  }

  /** What was called, each once, with its context. */
  get once(): readonly string[] {
    return [...new Set(this.all)].sort();
  }
}

/** A connected service, whose connect() is called in a context. */
function startIn(
  tenant: string,
  bench: Bench,
  {
    name,
    setUp,
    options,
  }: {
    readonly name: string;
    readonly setUp?: (service: Service) => unknown;
    readonly options?: ServiceOptions;
  },
): Promise<Service> {
  return tenants.run(tenant, () => bench.start(name, setUp, options));
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export const contexts: Define = (it) => {
  it("runs handlers and middleware outside of the contexts of whoever connected and whoever sends", async (bench) => {
    const seen = new Sightings();
    const setUp = (service: Service): void => {
      service.use(async (context, next) => {
        seen.note(`middleware ${context.kind}`);
        const reply = await next();
        seen.note(`middleware ${context.kind} after`);
        return reply;
      });
      service.route("/work", async ({ kind }) => {
        seen.note(kind);
        await turn();
        seen.note(`${kind} later`);
      });
      service.subscribe("/shared", () => seen.note("shared"));
      service.subscribe("/own", () => seen.note("own"), { per: "instance" });
    };
    const worker = await startIn("connector", bench, { name: "worker", setUp });
    const client = await startIn("client", bench, { name: "client" });
    await tenants.run("sender", async () => {
      await client.call("worker", "/work");
      await client.send("worker", "/work");
      await client.publish("/shared");
      await client.publish("/own");
      await worker.publish("/own");
      assert.equal(tenants.getStore(), "sender");
    });
    const own = (): number => seen.all.filter((line) => line.startsWith("own")).length;
    await eventually(() => own() === 2 && seen.once.length === 12, "every handler");
    assert.deepEqual(seen.once, [
      "call later: none",
      "call: none",
      "middleware call after: none",
      "middleware call: none",
      "middleware event after: none",
      "middleware event: none",
      "middleware send after: none",
      "middleware send: none",
      ...["own: none", "send later: none", "send: none", "shared: none"],
    ]);
  });

  it("runs calls of several tenants that travel together outside of the first one's context", async (bench) => {
    const seen = new Sightings();
    const setUp = (service: Service): void => {
      service.route("/now", () => seen.note("now"));
      service.route("/soon", async () => {
        await turn();
        seen.note("soon");
      });
    };
    await startIn("connector", bench, { name: "worker", setUp });
    const client = await bench.start("client");
    const call = (tenant: string, path: string): Promise<string | undefined> =>
      tenants.run(tenant, async () => {
        await client.call("worker", path);
        return tenants.getStore();
      });
    const names = ["a", "b", "c"];
    // Several turns, so that the worker has said that it takes gathered calls.
    for (let round = 0; round < 8; round += 1) {
      const calls = names.flatMap((tenant) => [call(tenant, "/now"), call(tenant, "/soon")]);
      assert.deepEqual(await Promise.all(calls), ["a", "a", "b", "b", "c", "c"]);
    }
    assert.deepEqual([seen.all.length, seen.once], [48, ["now: none", "soon: none"]]);
  });

  it("keeps what a handler enters to its own flow, and from its neighbours and those that wait", async (bench) => {
    const begun: (string | undefined)[] = [];
    const enter = (body: unknown): void => {
      begun.push(tenants.getStore());
      tenants.enterWith(String(body));
    };
    const setUp = (service: Service): void => {
      service.route("/now", ({ body }) => {
        enter(body);
        return tenants.getStore();
      });
      service.route("/soon", async ({ body }) => {
        enter(body);
        await turn();
        return tenants.getStore();
      });
      service.route("/nested", ({ body }) =>
        tenants.run(String(body), async () => {
          await turn();
          return tenants.run("inner", () => tenants.getStore()) === "inner" ? tenants.getStore() : undefined;
        }),
      );
    };
    const options = { concurrency: { calls: 2 } };
    await startIn("connector", bench, { name: "worker", setUp, options });
    const client = await bench.start("client");
    const bodies = Array.from({ length: 12 }, (_, n) => `handler ${n}`);
    for (const path of ["/now", "/soon", "/nested", "/now"]) {
      const replies = await Promise.all(bodies.map((body) => client.call("worker", path, body)));
      assert.deepEqual(
        replies.map(({ body }) => body),
        bodies,
      );
    }
    assert.deepEqual([begun.length, new Set(begun)], [36, new Set([undefined])]);
  });

  it("runs a call that a handler makes to its own service outside of the handler's context", async (bench) => {
    const seen = new Sightings();
    const worker = await bench.start(
      "worker",
      (service) => {
        service.route("/outer", () =>
          tenants.run("outer", async () => {
            await service.call("worker", "/inner");
            seen.note("outer");
          }),
        );
        service.route("/inner", () => seen.note("inner"));
      },
      { concurrency: { calls: 1 } },
    );
    await tenants.run("sender", () => worker.call("worker", "/outer"));
    assert.deepEqual(seen.once, ["inner: none", "outer: outer"]);
  });

  it("runs retries and what goes to the dead letters outside of every context", async (bench) => {
    const seen = new Sightings();
    const retry = { attempts: 3, backoff: { firstMs: 1, maxMs: 1 } };
    const fail = ({ attempt }: { readonly attempt: number }): void => {
      seen.note(`try ${attempt}`);
      tenants.enterWith(`try ${attempt}`);
      throw new Error("not yet");
    };
    const setUp = (service: Service): void => {
      service.route("/task", fail, { retry });
      service.subscribe("/event", fail, { retry });
    };
    const worker = await startIn("connector", bench, { name: "worker", setUp });
    await tenants.run("sender", () => worker.send("worker", "/task"));
    await tenants.run("publisher", () => worker.publish("/event"));
    await eventually(() => seen.all.length === 6, "all tries");
    assert.deepEqual(seen.once, ["try 1: none", "try 2: none", "try 3: none"]);
    const letters = bench.broker.deadLetters("worker");
    await eventually(async () => (await letters.count()) === 2, "both dead letters");
    // The function is called for whoever asks, and in no other's context.
    const chosen: unknown[] = [];
    const choose = (): boolean => chosen.push(tenants.getStore()) > 0;
    assert.equal(await tenants.run("operator", () => letters.discard(choose)), 2);
    assert.deepEqual(chosen, ["operator", "operator"]);
  });

  it("runs schemas in the context of whoever sends, and outside of every context where they receive", async (bench) => {
    const seen = new Sightings();
    const noted = (what: string) =>
      schemaOf<number, number>("a number", (value) => {
        seen.note(what);
        return typeof value === "number" ? { value: value + 1 } : undefined;
      });
    const work = command("worker", "/work", {
      input: noted("input"),
      output: noted("output"),
      errors: { NO: { status: 409, data: noted("data") } },
    });
    const setUp = (service: Service): void => {
      service.route(work, ({ body }) => {
        if (body > 10) throw work.error("NO", 1);
        return body;
      });
    };
    await startIn("connector", bench, { name: "worker", setUp });
    const client = await startIn("client", bench, { name: "client" });
    await tenants.run("sender", async () => {
      await client.call(work, 1);
      await rejection(client.call(work, 20));
    });
    assert.deepEqual(
      seen.once.filter((line) => !line.startsWith("data")),
      ["input: none", "input: sender", "output: none"],
    );
    assert.ok(seen.all.includes("data: none"), String(seen.once));
    // Each body, and what the schema made of it: it may be sent if the schema makes the same of it once more.
    assert.equal(seen.all.filter((line) => line === "input: sender").length, 4);
  });

  it("tells loggers and listeners to the state outside of every context", async (bench) => {
    const seen = new Sightings();
    const line = (level: string) => () => seen.note(level);
    const logger = { debug: line("debug"), info: line("info"), warn: line("warn"), error: line("error") };
    const setUp = (service: Service): void => {
      service.onState(({ to }) => {
        seen.note(to);
        tenants.enterWith(to);
      });
      service.onState(({ to }) => seen.note(to));
      service.route("/fails", () => {
        tenants.enterWith("handler");
        throw new Error("by intention");
      });
      service.route("/slow", () => new Promise(() => undefined));
    };
    const worker = await startIn("connector", bench, { name: "worker", setUp, options: { logger } });
    const client = await bench.start("client");
    await tenants.run("sender", () => rejection(client.call("worker", "/fails")));
    await tenants.run("sender", () => rejection(client.call("worker", "/slow", null, { timeoutMs: 100 })));
    await eventually(() => seen.all.some((each) => each.startsWith("warn")), "the overdue call");
    const left = client.call("worker", "/slow").catch(() => undefined);
    await eventually(() => worker.stats().routes.some(({ inFlight }) => inFlight > 0), "a call in hand");
    await tenants.run("closer", () => worker.shutdown({ timeoutMs: 50 }));
    assert.deepEqual(
      seen.once.filter((each) => !each.startsWith("debug") && !each.startsWith("info")),
      ["connecting: none", "draining: none", "error: none", "running: none", "stopped: none", "warn: none"],
    );
    assert.deepEqual(
      seen.all.filter((each) => !each.endsWith(": none")),
      [],
    );
    await client.shutdown({ timeoutMs: 1 });
    await left;
  });

  it("fires a handler's signal outside of every context, at its deadline and at a shutdown", async (bench) => {
    const seen = new Sightings();
    const two = { begun: 0, stopped: 0 };
    const setUp = (service: Service): void => {
      service.route("/slow", ({ signal, body }) => {
        tenants.enterWith("handler");
        signal.addEventListener("abort", () => {
          seen.note(`stopped by ${body}`);
          tenants.enterWith("another listener");
          two.stopped += 1;
        });
        two.begun += 1;
        return new Promise(() => undefined);
      });
    };
    const worker = await startIn("connector", bench, { name: "worker", setUp });
    const client = await bench.start("client");
    const call = (by: string, timeoutMs: number): Promise<unknown> =>
      tenants.run("sender", () => client.call("worker", "/slow", by, { timeoutMs }).catch(() => undefined));
    await Promise.all([call("its deadline", 150), call("its deadline", 150)]);
    await eventually(() => two.stopped === 2, "both signals");
    const left = [call("a shutdown", 5_000), call("a shutdown", 5_000)];
    await eventually(() => two.begun === 4, "both calls");
    await tenants.run("closer", () => worker.shutdown({ timeoutMs: 50 }));
    assert.equal(two.stopped, 4);
    assert.deepEqual(seen.once, ["stopped by a shutdown: none", "stopped by its deadline: none"]);
    await client.shutdown({ timeoutMs: 1 });
    await Promise.all(left);
  });

  it("shows events outside of the contexts of whoever looks and whoever publishes", async (bench) => {
    const seen = new Sightings();
    const client = await startIn("connector", bench, { name: "client" });
    const watch = await tenants.run("watcher", () =>
      bench.broker.watch("/shown/#", ({ path }) => {
        seen.note(path);
        tenants.enterWith(path);
      }),
    );
    await tenants.run("publisher", () =>
      Promise.all([client.publish("/shown/1"), client.publish("/shown/2"), client.publish("/shown/3")]),
    );
    await eventually(() => seen.all.length === 3, "all events");
    await watch.close();
    assert.deepEqual(seen.once, ["/shown/1: none", "/shown/2: none", "/shown/3: none"]);
  });

  it("runs handlers outside of every context also when their queue was made again", async (bench) => {
    const handled = signalled();
    const seen = new Sightings();
    const setUp = (service: Service): void => {
      service.route("/work", ({ kind }) => {
        seen.note(kind);
        if (kind === "send") handled.resolve();
      });
    };
    const worker = await startIn("connector", bench, { name: "worker", setUp });
    const foreign = await bench.foreign();
    await tenants.run("operator", async () => {
      await foreign.deleteQueue(bench.queue("worker", "inbox"));
      await foreign.deleteQueue(bench.queue("worker", "calls"));
    });
    await eventually(() => worker.health().status === "degraded", "the loss");
    await eventually(() => worker.health().status === "healthy", "new consumers");
    await tenants.run("sender", async () => {
      await worker.call("worker", "/work");
      await worker.send("worker", "/work");
    });
    await handled.promise;
    assert.deepEqual(seen.once, ["call: none", "send: none"]);
  });

  it("registers in one context what is run in none, also after connect()", async (bench) => {
    const seen = new Sightings();
    const worker = await bench.start("worker");
    await tenants.run("registrar", async () => {
      worker.route("/late", () => seen.note("route"));
      worker.subscribe("/late", () => seen.note("event"), { per: "instance" });
      await worker.connect();
    });
    await tenants.run("sender", async () => {
      await worker.call("worker", "/late");
      await worker.publish("/late");
    });
    await eventually(() => seen.all.length === 2, "both handlers");
    assert.deepEqual(seen.once, ["event: none", "route: none"]);
  });
};
