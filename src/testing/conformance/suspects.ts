/** Messages that kill whoever handles them, and their neighbours. */

import assert from "node:assert/strict";
import { isConfluoError, type Message, type Properties, type Service, ServiceError } from "../../index.ts";
import { eventually } from "../eventually.ts";
import { held } from "./mailbox.ts";
import { type Bench, type Define, oneByOne, rejection, type ServiceQueue, signalled } from "./suite.ts";

export const suspects: Define = (it) => {
  it("runs a call once more, alone, when the instance that had it is gone", async (bench) => {
    await declared(bench, (service) => service.route("/", () => undefined));
    const caller = await bench.start("caller", undefined, oneByOne);
    const call = caller.call("worker", "/task?a=1", { n: 1 }, { headers: { h: "v" } });
    const [first] = await bench.dieWith("worker", "calls", 1);
    await bench.start("worker", (service) =>
      service.route("/task", ({ kind, redelivered, query, headers, body, from, messageId }) => {
        return { kind, redelivered, query, headers, body, from, messageId };
      }),
    );
    assert.deepEqual((await call).body, {
      kind: "call",
      redelivered: true,
      query: { a: "1" },
      headers: { h: "v" },
      body: { n: 1 },
      from: "caller",
      messageId: first?.properties.correlationId,
    });
  });

  it("answers a call with INSTANCE_LOST when the instance that ran it alone is gone, too", async (bench) => {
    await declared(bench, (service) => service.route("/", () => undefined));
    const caller = await bench.start("caller", undefined, oneByOne);
    const call = rejection(caller.call("worker", "/deadly"));
    await bench.dieWith("worker", "calls", 1);
    const { died } = await consuming(bench, "calls.again");
    await bench.start("worker", (service) => service.route("/deadly", () => assert.fail("it ran here")));
    await died;
    const error = await call;
    assert.ok(isConfluoError(error) && error.code === "INSTANCE_LOST", String(error));
    assert.equal(error.status, 502);
  });

  it("answers every innocent of 128 calls that an instance took along", async (bench) => {
    await declared(bench, (service) => service.route("/", () => undefined));
    const caller = await bench.start("caller", undefined, oneByOne);
    const calls = Array.from({ length: 128 }, (_, n) => caller.call("worker", "/double", n));
    await bench.dieWith("worker", "calls", 128);
    let most = 0;
    let running = 0;
    await bench.start("worker", (service) =>
      service.route("/double", async ({ body, redelivered }) => {
        assert.equal(redelivered, true);
        running += 1;
        most = Math.max(most, running);
        await new Promise(setImmediate);
        running -= 1;
        return (body as number) * 2;
      }),
    );
    const answers = await Promise.all(calls);
    assert.deepEqual(
      answers.map(({ body }) => body),
      Array.from({ length: 128 }, (_, n) => n * 2),
    );
    assert.equal(most, 1);
  });

  it("handles every innocent of 128 events that an instance took along, and dead-letters none", async (bench) => {
    await declared(bench, (service) => service.subscribe("/n", () => undefined));
    const publisher = await bench.start("publisher");
    await Promise.all(Array.from({ length: 128 }, (_, n) => publisher.publish("/n", n)));
    await bench.dieWith("worker", "inbox", 128);
    const seen = new Map<number, number>();
    await bench.start("worker", (service) =>
      service.subscribe("/n", ({ body, attempt, redelivered }) => {
        assert.deepEqual([attempt, redelivered], [1, true]);
        seen.set(body as number, (seen.get(body as number) ?? 0) + 1);
      }),
    );
    await eventually(() => seen.size === 128, "all events");
    assert.deepEqual(new Set(seen.values()), new Set([1]));
    for (const queue of ["inbox", "inbox.again", "dead"] as const)
      await eventually(async () => (await bench.depth("worker", queue)) === 0, `nothing in ${queue}`);
  });

  it("tries a command once more when an instance that had it alone is gone", async (bench) => {
    await declared(bench, (service) => service.route("/", () => undefined));
    const manager = await bench.start("manager");
    await manager.send("worker", "/unlucky", 7);
    await bench.dieWith("worker", "inbox", 1);
    const { died } = await consuming(bench, "inbox.again");
    const handled = signalled<unknown>();
    await bench.start("worker", (service) =>
      service.route("/unlucky", ({ body, attempt }) => handled.resolve([body, attempt])),
    );
    assert.equal((await died)[0]?.properties.headers?.["confluo-deaths"], undefined);
    assert.deepEqual(await handled.promise, [7, 1]);
    assert.equal(await bench.depth("worker", "dead"), 0);
  });

  it("dead-letters a command that was fatal to two instances alone, as INSTANCE_LOST", async (bench) => {
    const setUp = (service: Service): Service => service.route("/deadly", () => assert.fail("it ran here"));
    await declared(bench, setUp);
    await bench.publishForeign("", bench.queue("worker", "inbox.again"), '{"n":1}', {
      messageId: "m-1",
      headers: {
        "confluo-path": "/deadly",
        "confluo-query": "q=1",
        "confluo-deaths": "1",
        "confluo-from": "manager",
        h: "v",
      },
    });
    await bench.dieWith("worker", "inbox.again", 1);
    await bench.start("worker", setUp);
    const { properties, body } = await bench.takeDead("worker");
    assert.equal(properties.messageId, "m-1");
    assert.equal(new TextDecoder().decode(body), '{"n":1}');
    const { headers = {} } = properties;
    assert.equal(headers["confluo-error"], "INSTANCE_LOST");
    assert.equal(headers["confluo-path"], "/deadly");
    assert.equal(headers["confluo-query"], "q=1");
    assert.equal(headers["confluo-from"], "manager");
    assert.equal(headers["confluo-queue"], bench.queue("worker", "inbox.again"));
    assert.equal(headers["confluo-deaths"], undefined);
    assert.equal(headers.h, "v");
  });

  it("tries a suspect event alone for each of its subscriptions", async (bench) => {
    const setUp =
      (got: string[]) =>
      (service: Service): Service =>
        service
          .subscribe("/e", () => void got.push("/e"))
          .subscribe("/#", () => {
            got.push("/#");
            throw new ServiceError("no", { retry: "never" });
          });
    const got: string[] = [];
    await declared(bench, setUp([]));
    const publisher = await bench.start("publisher");
    await publisher.publish("/e");
    await bench.dieWith("worker", "inbox", 1);
    await bench.start("worker", setUp(got));
    const dead = await bench.takeDead("worker");
    assert.equal(dead.properties.headers?.["confluo-subscription"], "/#");
    await eventually(() => got.length === 2, "both");
    assert.deepEqual(new Set(got), new Set(["/e", "/#"]));
    assert.equal(await bench.depth("worker", "dead"), 0);
  });

  it("keeps the number of the try and the first failure of what comes back alone", async (bench) => {
    const failed = signalled();
    const retry = { attempts: 3, backoff: { firstMs: 1 } } as const;
    const first = await bench.start("worker", (service) =>
      service.route(
        "/",
        () => {
          failed.resolve();
          throw new Error("first");
        },
        { retry },
      ),
    );
    const manager = await bench.start("manager");
    await manager.send("worker", "/");
    await failed.promise;
    await first.shutdown();
    await bench.dieWith("worker", "inbox", 1);
    const attempts: number[] = [];
    await bench.start("worker", (service) =>
      service.route("/", ({ attempt, redelivered }) => {
        attempts.push(attempt);
        throw new ServiceError(`${redelivered}`, { retry: "never" });
      }),
    );
    const { headers = {} } = (await bench.takeDead("worker")).properties;
    assert.deepEqual(attempts, [2]);
    assert.equal(headers["confluo-error-message"], "true");
    assert.ok(String(headers["confluo-first-failed-at"]) < String(headers["confluo-failed-at"]));
  });

  it("gives calls that a shutdown does not wait for back without counting a death", async (bench) => {
    await declared(bench, (service) => service.route("/", () => undefined));
    const caller = await bench.start("caller");
    const call = caller.call("worker", "/slow", 7);
    for (let deploys = 0; deploys < 3; deploys += 1) {
      const begun = signalled();
      const old = await bench.start("worker", (service) =>
        service.route("/slow", () => {
          begun.resolve();
          return new Promise(() => undefined);
        }),
      );
      await begun.promise;
      await old.shutdown({ timeoutMs: 1 });
    }
    await bench.start("worker", (service) =>
      service.route("/slow", ({ body, redelivered }) => ({ body, redelivered })),
    );
    assert.deepEqual((await call).body, { body: 7, redelivered: true });
  });

  it("puts a suspect aside where nothing handles it, too, and counts its deaths on", async (bench) => {
    await declared(bench, (service) => service.route("/", () => undefined));
    await bench.publishForeign("", bench.queue("worker", "inbox.again"), "1", {
      type: "/new",
      messageId: "m-1",
      headers: { "confluo-deaths": "1", "confluo-unclaimed": "250" },
    });
    // An old instance, which sends it round; then the last that a new one gets.
    const old = await bench.start("worker", (service) => service.route("/old", () => 1), {
      unhandledRetryMs: 60_000,
    });
    const again = bench.queue("worker", "inbox.again");
    await eventually(async () => (await bench.broker.queue(again))?.messages === 0, "its start");
    await old.shutdown();
    const [taken] = await bench.dieWith("worker", "inbox.again", 1);
    assert.equal(taken?.properties.headers?.["confluo-deaths"], "1");
    assert.ok(Number(taken?.properties.headers?.["confluo-unclaimed"]) > 250);
    await bench.start("worker", (service) => service.route("/old", () => 1), { unhandledRetryMs: 60_000 });
    const { headers = {} } = (await bench.takeDead("worker")).properties;
    assert.equal(headers["confluo-error"], "INSTANCE_LOST");
  });

  const foreign: Readonly<Record<string, Properties>> = {
    id: { type: "/", messageId: "m" },
    "correlation id": { type: "/", correlationId: "c" },
    "id, of events": { messageId: "m", headers: { "confluo-kind": "event", "confluo-path": "/e" } },
  };
  for (const [what, properties] of Object.entries(foreign)) {
    it(`handles each of several messages that have one ${what} and one body, though one comes again`, async (bench) => {
      let handled = 0;
      const count = (): void => {
        handled += 1;
      };
      await bench.start("worker", (service) => service.route("/", count).subscribe("/e", count));
      const inbox = bench.queue("worker", "inbox");
      await bench.publishForeign("", inbox, "1", properties);
      await eventually(() => handled === 1, "the first");
      const died = bench.dieWith("worker", "inbox", 1);
      await eventually(async () => (await bench.broker.queue(inbox))?.consumers === 2, "a consumer");
      for (let n = 0; n < 4; n += 1) await bench.publishForeign("", inbox, "1", properties);
      await died;
      await eventually(() => handled === 5, "all of them");
      assert.equal(await bench.depth("worker", "dead"), 0);
    });
  }

  it("runs each of two calls that have one correlation id, though one comes again while the other runs", async (bench) => {
    let running = 0;
    const { free, release } = held();
    await bench.start("worker", (service) =>
      service.route("/", async () => {
        running += 1;
        await free;
      }),
    );
    const calls = bench.queue("worker", "calls");
    const properties = { type: "/", correlationId: "c", replyTo: "nobody" };
    await bench.publishForeign("", calls, "1", properties);
    await eventually(() => running === 1, "the first");
    const died = bench.dieWith("worker", "calls", 1);
    await eventually(async () => (await bench.broker.queue(calls))?.consumers === 2, "a consumer");
    for (let n = 0; n < 2; n += 1) await bench.publishForeign("", calls, "1", properties);
    await died;
    await eventually(() => running === 3, "all of them");
    release();
  });

  it("gives the copy of a call that it puts aside or gives back what is left of its time, and no more", async (bench) => {
    const begun = signalled();
    const first = await bench.start("worker", (service) =>
      service.route("/", () => {
        begun.resolve();
        return new Promise(() => undefined);
      }),
    );
    const properties = { type: "/", correlationId: "c", replyTo: "nobody", expiration: "60000" };
    await bench.publishForeign("", bench.queue("worker", "calls"), "1", properties);
    await begun.promise;
    await first.shutdown({ timeoutMs: 100 });
    const [copy] = await bench.dieWith("worker", "calls", 1);
    const left = Number(copy?.properties.expiration);
    assert.ok(left > 0 && left <= 59_900, `${left}`);
  });

  it("gives work that a shutdown does not wait for back without counting a death", async (bench) => {
    await declared(bench, (service) => service.route("/", () => undefined));
    const manager = await bench.start("manager");
    await manager.send("worker", "/slow");
    await bench.dieWith("worker", "inbox", 1);
    for (let deploys = 0; deploys < 4; deploys += 1) {
      const begun = signalled();
      const old = await bench.start("worker", (service) =>
        service.route("/slow", () => {
          begun.resolve();
          return new Promise(() => undefined);
        }),
      );
      await begun.promise;
      await old.shutdown({ timeoutMs: 1 });
    }
    const done = signalled<number>();
    await bench.start("worker", (service) => service.route("/slow", ({ attempt }) => done.resolve(attempt)));
    assert.equal(await done.promise, 1);
    assert.equal(await bench.depth("worker", "dead"), 0);
  });
};

// The service's queues are there, and nobody at them.
async function declared(bench: Bench, setUp: (service: Service) => unknown): Promise<void> {
  const service = await bench.start("worker", setUp);
  await service.shutdown();
}

// Someone who is first in line at a queue, and dies with what he gets; resolves when he stands there.
async function consuming(
  bench: Bench,
  lane: ServiceQueue,
): Promise<{ readonly died: Promise<readonly Message[]> }> {
  const died = bench.dieWith("worker", lane, 1);
  const queue = bench.queue("worker", lane);
  await eventually(async () => (await bench.broker.queue(queue))?.consumers === 1, "a consumer");
  return { died };
}
