/** Connecting, registering, shutting down; and arguments that are not valid. */

import assert from "node:assert/strict";
import { Broker, isConfluoError, Service } from "../../index.ts";
import { eventually } from "../eventually.ts";
import { type Define, oneByOne, rejection, signalled } from "./suite.ts";

export const lifecycle: Define = (it) => {
  it("refuses verbs before connect and after shutdown with NOT_CONNECTED", async (bench) => {
    const service = bench.create("early");
    for (const attempt of [
      () => service.call("x", "/"),
      () => service.send("x", "/"),
      () => service.publish("/e"),
    ]) {
      assert.ok(isConfluoError(await rejection(attempt()), "NOT_CONNECTED"));
    }
    await service.connect();
    await service.publish("/e");
    await service.shutdown();
    assert.ok(isConfluoError(await rejection(service.publish("/e")), "NOT_CONNECTED"));
  });

  it("lets verbs wait for a connect that is under way", async (bench) => {
    const service = bench.create("eager");
    service.route("/", () => 1);
    const connected = service.connect();
    const answer = service.call("eager", "/");
    await connected;
    assert.equal((await answer).body, 1);
  });

  it("makes no queue for a service that only calls and publishes", async (bench) => {
    await bench.start("answerer", (service) => service.route("/", () => 1));
    const client = await bench.start("client");
    await client.call("answerer", "/");
    await client.publish("/e");
    assert.equal(await bench.broker.queue(bench.queue("client", "inbox")), undefined);
    assert.equal(await bench.broker.queue(bench.queue("client", "calls")), undefined);
    assert.notEqual(await bench.broker.queue(bench.queue("answerer", "calls")), undefined);
  });

  it("finishes what runs, and answers it, before it shuts down", async (bench) => {
    const begun = signalled();
    const free = signalled();
    const answerer = await bench.start("answerer", (service) => {
      service.route("/", async () => {
        begun.resolve();
        await free.promise;
        return "done";
      });
    });
    const caller = await bench.start("caller");
    const answer = caller.call("answerer", "/");
    await begun.promise;
    const down = answerer.shutdown();
    assert.equal(answerer.state, "draining");
    free.resolve();
    assert.equal((await answer).body, "done");
    await down;
    assert.equal(answerer.state, "stopped");
  });

  it("has every dead letter confirmed before it shuts down", async (bench) => {
    let runs = 0;
    const free = signalled();
    const worker = await bench.start("worker", (service) => {
      service.route("/", async () => {
        runs += 1;
        await free.promise;
        throw new Error("no");
      });
    });
    const manager = await bench.start("manager");
    await Promise.all(Array.from({ length: 50 }, () => manager.send("worker", "/")));
    await eventually(() => runs === 50, "all handlers");
    const down = worker.shutdown();
    free.resolve();
    await down;
    await eventually(async () => (await bench.depth("worker", "dead")) === 50, "50 dead letters");
    // The inbox is not looked at: RabbitMQ may drop acknowledgements of a quorum queue whose channel closes right after
    // them, which costs a repetition and no message.
    assert.equal(bench.log.filter(({ message }) => message.includes("did not reach")).length, 0);
  });

  it("lets a handler that is being drained call, send and publish", async (bench) => {
    const begun = signalled();
    const free = signalled();
    await bench.start("inner", (service) => service.route("/", () => "inner"));
    const outer = await bench.start("outer", (service) => {
      service.route("/", async () => {
        begun.resolve();
        await free.promise;
        await service.publish("/e");
        await service.send("inner", "/");
        return (await service.call("inner", "/")).body;
      });
    });
    const caller = await bench.start("caller");
    const answer = caller.call("outer", "/");
    await begun.promise;
    const down = outer.shutdown();
    free.resolve();
    assert.equal((await answer).body, "inner");
    await down;
  });

  it("stops waiting at the bound, fires signals and settles every call in flight", async (bench) => {
    const fired = signalled<unknown>();
    const stuck = await bench.start("stuck", (service) => {
      service.subscribe("/e", ({ signal }) => {
        signal.addEventListener("abort", () => fired.resolve(signal.reason));
        return new Promise(() => undefined);
      });
      service.route("/", () => new Promise(() => undefined));
    });
    const caller = await bench.start("caller");
    await caller.publish("/e");
    const calling = rejection(caller.call("stuck", "/"));
    await eventually(async () => (await bench.depth("stuck", "inbox")) === 0, "the event to be taken");
    await Promise.all([stuck.shutdown({ timeoutMs: 100 }), caller.shutdown({ timeoutMs: 100 })]);
    assert.ok(isConfluoError(await fired.promise, "SHUTTING_DOWN"));
    assert.ok(isConfluoError(await calling, "SHUTTING_DOWN"));
  });

  it("shuts down twice, connects again, and works as before", async (bench) => {
    const service = await bench.start("phoenix", (phoenix) => {
      phoenix.route("/", () => "up");
      phoenix.subscribe("/e", () => got.resolve());
    });
    const got = signalled();
    await Promise.all([service.shutdown(), service.shutdown()]);
    await service.shutdown();
    await service.connect();
    assert.equal((await service.call("phoenix", "/")).body, "up");
    await service.publish("/e");
    await got.promise;
  });

  it("answers calls that waited while the service was restarted", async (bench) => {
    const first = await bench.start("restarted", (service) => service.route("/:n", () => "old"));
    await first.shutdown();
    const caller = await bench.start("caller", undefined, oneByOne);
    const answers = Array.from({ length: 50 }, (_, n) => caller.call("restarted", `/${n}`));
    await eventually(async () => (await bench.depth("restarted", "calls")) === 50, "the calls in the queue");
    await bench.start("restarted", (service) => service.route("/:n", ({ params }) => params.n));
    const bodies = (await Promise.all(answers)).map(({ body }) => body);
    assert.deepEqual(
      bodies,
      Array.from({ length: 50 }, (_, n) => String(n)),
    );
  });

  it("shuts down while it connects", async (bench) => {
    const service = bench.create("hasty");
    service.route("/", () => 1);
    const connecting = rejection(service.connect());
    await service.shutdown();
    assert.ok(isConfluoError(await connecting, "SHUTTING_DOWN"), String(await connecting));
    assert.equal(service.state, "stopped");
  });

  it("shuts down at the end of an await using block", async (bench) => {
    const service = bench.create("scoped");
    {
      await using scoped = await service.connect();
      assert.equal(scoped.state, "running");
    }
    assert.equal(service.state, "stopped");
  });

  it("refuses a path or pattern that is registered already", async (bench) => {
    const service = bench.create("twice");
    service.route("/orders/:id", () => 1).subscribe("/e/:id", () => 1);
    assert.throws(() => service.route("orders/:other", () => 1), { code: "ALREADY_REGISTERED" });
    assert.throws(() => service.subscribe("/e/*", () => 1), { code: "ALREADY_REGISTERED" });
    service.subscribe("/e/:id", () => 1, { per: "instance" });
  });

  it("registers a path again after its signal fired", async (bench) => {
    const off = new AbortController();
    const service = await bench.start("changing", (changing) =>
      changing.route("/", () => "old", { signal: off.signal }),
    );
    off.abort();
    service.route("/", () => "new");
    assert.equal((await service.call("changing", "/")).body, "new");
  });

  it("refuses a path that does not fit the wire's 255 bytes", async (bench) => {
    const service = await bench.start("long");
    const fits = `/${"a".repeat(254)}`;
    await service.publish(`/${"a".repeat(255)}`);
    assert.ok(isConfluoError(await rejection(service.call("nobody", fits)), "NO_SUCH_SERVICE"));
    for (const path of [`/${"a".repeat(256)}`, `/${"€".repeat(86)}`, `/${".".repeat(86)}`]) {
      const error = await rejection(service.publish(path));
      assert.ok(isConfluoError(error, "INVALID_ARGUMENT") && error.message.includes("255"), String(error));
    }
    assert.throws(() => service.route(`/${"a".repeat(256)}`, () => 1), { code: "INVALID_ARGUMENT" });
    assert.throws(() => service.subscribe(`/${"€".repeat(86)}`, () => 1), { code: "INVALID_ARGUMENT" });
  });

  it("refuses names, options and bodies that are not valid, and goes on", async (bench) => {
    for (const name of ["", "a.b", "with space", "a/b", "x".repeat(300), undefined as unknown as string]) {
      assert.throws(() => new Service(name), { code: "INVALID_ARGUMENT" }, JSON.stringify(name));
    }
    assert.throws(() => new Broker("http://localhost"), { code: "INVALID_ARGUMENT" });
    assert.throws(() => new Broker([]), { code: "INVALID_ARGUMENT" });
    assert.throws(() => new Broker("memory:", { namespace: "a.b" }), { code: "INVALID_ARGUMENT" });
    assert.throws(() => new Service("x", { timeoutMs: 0 }), { code: "INVALID_ARGUMENT" });
    assert.throws(() => new Service("x", { concurrency: { calls: 0 } }), { code: "INVALID_ARGUMENT" });
    const service = await bench.start("fussy", (fussy) => fussy.route("/", ({ body }) => body));
    const cycle: Record<string, unknown> = {};
    cycle.self = cycle;
    for (const body of [cycle, 1n, () => 1, new Float32Array(1)]) {
      assert.ok(isConfluoError(await rejection(service.call("fussy", "/", body)), "INVALID_ARGUMENT"));
    }
    for (const headers of [{ "x-death": "1" }, { "confluo-kind": "1" }, { CC: "a" }, { n: 1 }]) {
      const options = { headers: headers as unknown as Record<string, string> };
      assert.ok(isConfluoError(await rejection(service.publish("/e", 1, options)), "INVALID_ARGUMENT"));
    }
    for (const timeoutMs of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      assert.ok(
        isConfluoError(await rejection(service.call("fussy", "/", 1, { timeoutMs })), "INVALID_ARGUMENT"),
      );
    }
    assert.ok(isConfluoError(await rejection(service.call("", "/")), "INVALID_ARGUMENT"));
    assert.ok(isConfluoError(await rejection(service.call("fussy", "")), "INVALID_ARGUMENT"));
    assert.ok(isConfluoError(await rejection(service.publish("/")), "INVALID_ARGUMENT"));
    assert.equal((await service.call("fussy", "/", "fine")).body, "fine");
  });

  it("refuses a body over the limit, as a request and as an answer, and goes on", async (bench) => {
    const limit = bench.broker.maxBodyBytes;
    const service = await bench.start("large", (large) => {
      large.route("/big", () => new Uint8Array(limit + 1));
      large.route("/", ({ body }) => (body as Uint8Array).length);
    });
    const big = new Uint8Array(limit + 1);
    assert.ok(isConfluoError(await rejection(service.call("large", "/", big)), "PAYLOAD_TOO_LARGE"));
    assert.ok(isConfluoError(await rejection(service.publish("/e", big)), "PAYLOAD_TOO_LARGE"));
    assert.ok(isConfluoError(await rejection(service.call("large", "/big")), "PAYLOAD_TOO_LARGE"));
    const million = new Uint8Array(1_000_000);
    assert.equal((await service.call("large", "/", million)).body, 1_000_000);
  });

  it("ends with the last shutdown of shutdown, connect and shutdown in a row", async (bench) => {
    const service = await bench.start("undecided", (undecided) => undecided.route("/", () => 1));
    const first = service.shutdown();
    const connecting = rejection(service.connect());
    const second = service.shutdown();
    assert.ok(isConfluoError(await connecting, "SHUTTING_DOWN"), String(await connecting));
    await Promise.all([first, second]);
    assert.equal(service.state, "stopped");
    await service.connect();
    assert.equal(service.state, "running");
  });

  it("connects after a shutdown that is under way, within its own limits", async (bench) => {
    const begun = signalled();
    const service = await bench.start("slow", (slow) => {
      slow.subscribe("/e", () => {
        begun.resolve();
        return new Promise(() => undefined);
      });
      slow.route("/", () => "again");
    });
    await service.publish("/e");
    await begun.promise;
    const down = service.shutdown({ timeoutMs: 1_000 });
    const error = await rejection(service.connect(undefined, { timeoutMs: 50 }));
    assert.ok(isConfluoError(error, "TIMEOUT"), String(error));
    const cancel = new AbortController();
    const cancelled = rejection(service.connect(undefined, { signal: cancel.signal }));
    cancel.abort();
    assert.ok(isConfluoError(await cancelled, "CANCELLED"));
    assert.equal(service.state, "draining");
    await service.connect();
    await down;
    assert.equal((await service.call("slow", "/")).body, "again");
  });

  it("waits as long as the shortest of its shutdowns, or until a signal fires", async (bench) => {
    for (const hurry of [
      (service: Service) => service.shutdown({ timeoutMs: 50 }),
      (service: Service) => service.shutdown({ signal: AbortSignal.timeout(50) }),
      (service: Service) => service.shutdown({ signal: AbortSignal.abort() }),
    ]) {
      const begun = signalled();
      const service = await bench.start("stuck", (stuck) => {
        stuck.route("/", () => {
          begun.resolve();
          return new Promise(() => undefined);
        });
      });
      const asked = rejection(service.call("stuck", "/"));
      await begun.promise;
      const began = performance.now();
      const patient = service.shutdown({ timeoutMs: 60_000 });
      await hurry(service);
      await patient;
      assert.ok(performance.now() - began < 10_000);
      assert.ok(isConfluoError(await asked, "SHUTTING_DOWN"), String(await asked));
    }
  });

  it("stays with its broker, and says when it is asked to connect elsewhere", async (bench) => {
    const addresses = ["amqp://127.0.0.1:1", "amqp://127.0.0.1:2"];
    const service = bench.create("listed");
    const both = [
      service.connect(addresses, { timeoutMs: 3_000 }),
      service.connect([...addresses].reverse(), { timeoutMs: 3_100 }),
    ];
    const [first, second] = await Promise.all(both.map((attempt) => rejection(attempt)));
    for (const error of [first, second])
      assert.ok(isConfluoError(error, "BROKER_UNREACHABLE"), String(error));
    const connected = await bench.start("connected");
    await connected.connect(bench.broker);
    for (const elsewhere of ["memory:", addresses]) {
      const error = await rejection(connected.connect(elsewhere));
      assert.ok(isConfluoError(error, "INVALID_ARGUMENT"), String(error));
    }
  });

  it("says why no broker by its deadline, and is idle again", async (bench) => {
    const service = bench.create("patient", { broker: "amqp://127.0.0.1:1" });
    const error = await rejection(service.connect(undefined, { timeoutMs: 3_000 }));
    assert.ok(
      isConfluoError(error, "BROKER_UNREACHABLE") && error.message.includes("ECONNREFUSED"),
      String(error),
    );
    assert.equal(service.state, "idle");
  });
};
