/** What becomes of dead letters that are sent back. */

import assert from "node:assert/strict";
import { isConfluoError, type Properties, ServiceError } from "../../index.ts";
import { eventually } from "../eventually.ts";
import { counting, craft, declare, idsOf, listed } from "./letters.ts";
import { type Bench, type Define, rejection, signalled } from "./suite.ts";

export const replay: Define = (it) => {
  it("handles a command anew: the same message, its first try", async (bench) => {
    const tries: unknown[] = [];
    const served = signalled();
    const later = { firstMs: 1, maxMs: 1 } as const;
    await bench.start("worker", (service) =>
      service.route(
        "/task/:id",
        ({ kind, path, query, headers, body, messageId, from, attempt }) => {
          tries.push({ kind, path, query, headers, body, messageId, from, attempt });
          if (tries.length <= 2) throw new Error("not yet");
          served.resolve();
        },
        { retry: { attempts: 2, backoff: later } },
      ),
    );
    const manager = await bench.start("manager");
    const options = { messageId: "task-7", headers: { h: "kept" } };
    await manager.send("worker", "/task/7?urgent=yes", new Uint8Array([1, 2]), options);
    const [letter] = await listed(bench, "worker", 1);
    assert.equal(letter?.attempts, 2);
    assert.equal(await bench.broker.deadLetters("worker").replay(["task-7"]), 1);
    await served.promise;
    const expected = (attempt: number): object => ({
      kind: "send",
      path: "/task/7",
      query: { urgent: "yes" },
      headers: { h: "kept" },
      body: new Uint8Array([1, 2]),
      messageId: "task-7",
      from: "manager",
      attempt,
    });
    assert.deepEqual(tries, [expected(1), expected(2), expected(1)]);
    assert.equal(await bench.depth("worker", "dead"), 0);
  });

  it("sends back by ids, by a function and all, and nothing else", async (bench) => {
    const { seen, start } = counting(bench);
    await declare(bench, "worker");
    await craft(bench, "worker", 10);
    const box = bench.broker.deadLetters("worker");
    assert.equal(await box.replay([]), 0);
    assert.equal(await box.replay(["m-7", "m-3", "m-99"]), 2);
    assert.deepEqual(idsOf(await box.list()), ["m-0", "m-1", "m-2", "m-4", "m-5", "m-6", "m-8", "m-9"]);
    assert.equal(await box.replay(({ body }) => (body as number) % 2 === 0), 5);
    assert.equal(await box.replay("all"), 3);
    assert.equal(await box.count(), 0);
    await start();
    await eventually(() => seen.size === 10, "all of them");
  });

  it("runs only the subscription that failed", async (bench) => {
    const runs: string[] = [];
    let broken = true;
    await bench.start("mail", (service) => {
      service.subscribe("/orders/#", () => void runs.push("fine"));
      service.subscribe("/orders/:id", ({ params, kind, attempt }) => {
        runs.push(`${kind} ${params.id} ${attempt}`);
        if (broken) throw new ServiceError("no", { retry: "never" });
      });
    });
    const shop = await bench.start("shop");
    await shop.publish("/orders/7", undefined, { messageId: "e-1" });
    const [letter] = await listed(bench, "mail", 1);
    assert.equal(letter?.id, "e-1@/orders/:id");
    assert.equal(letter.subscription, "/orders/:id");
    broken = false;
    assert.equal(await bench.broker.deadLetters("mail").replay([letter.id]), 1);
    await eventually(() => runs.length === 3, "the third run");
    assert.deepEqual(runs.toSorted(), ["event 7 1", "event 7 1", "fine"]);
    assert.equal(await bench.depth("mail", "inbox"), 0);
  });

  it("leaves the death and what a foreign sender forged behind", async (bench) => {
    await declare(bench, "worker");
    await craft(bench, "worker", 1, {
      type: "/ignored",
      contentType: "application/json",
      appId: "forged",
      correlationId: "c",
      replyTo: "r",
      headers: {
        "confluo-path": "/task",
        "confluo-kind": "call",
        "confluo-from": "manager",
        "confluo-query": "a=1",
        "confluo-attempt": "9",
        "confluo-wait": "5000",
        "confluo-deaths": "1",
        "confluo-unclaimed": "1000",
        "confluo-expires": "1",
        "confluo-error": "HANDLER_FAILED",
        "confluo-error-name": "Error",
        "confluo-error-message": "no",
        "confluo-error-stack": "at",
        "confluo-first-failed-at": new Date().toISOString(),
        "confluo-failed-at": new Date().toISOString(),
        "confluo-queue": "q",
        "confluo-instance": "i",
        "x-death": [{ reason: "expired", queue: "elsewhere", count: 1 }],
        "x-own": "1",
        h: "kept",
      },
    });
    const box = bench.broker.deadLetters("worker");
    assert.equal((await box.list())[0]?.kind, "call");
    assert.equal(await box.replay("all"), 1);
    const [copy] = await bench.dieWith("worker", "inbox", 1);
    const { headers = {}, ...properties } = copy?.properties ?? {};
    const { "confluo-replay": mark, ...kept } = headers;
    assert.match(String(mark), /./);
    assert.deepEqual(kept, {
      "confluo-kind": "send",
      "confluo-path": "/task",
      "confluo-from": "manager",
      "confluo-query": "a=1",
      "confluo-attempt": "1",
      h: "kept",
    });
    assert.deepEqual(present(properties), {
      contentType: "application/json",
      messageId: "m-0",
      deliveryMode: 2,
    });
  });

  it("lists what expired with the reason, as what it was, and replays it", async (bench) => {
    const setUp = (note: (what: unknown) => void) => (service: Awaited<ReturnType<Bench["start"]>>) =>
      service
        .route("/task", ({ kind, path, body }) => note([kind, path, body]))
        .subscribe("/orders/:id", ({ kind, path, body }) => note([kind, path, body]));
    const worker = await bench.start(
      "worker",
      setUp(() => assert.fail("it ran")),
    );
    await worker.shutdown();
    const manager = await bench.start("manager");
    await manager.send("worker", "/task?q=1", "old", { expiresMs: 1 });
    await manager.publish("/orders/7", "old", { expiresMs: 1, messageId: "e" });
    const found = await listed(bench, "worker", 2);
    for (const { reason, queue, attempts, error, failedAt, from } of found) {
      assert.deepEqual(
        [reason, queue, attempts, error, from],
        ["expired", bench.queue("worker", "inbox"), 0, undefined, "manager"],
      );
      assert.ok(Math.abs(Date.now() - (failedAt?.getTime() ?? 0)) < 60_000);
    }
    const told = found.map(({ kind, path, query, subscription, body }) => [
      kind,
      path,
      query,
      subscription,
      body,
    ]);
    assert.deepEqual(told.toSorted(), [
      ["event", "/orders/7", "", undefined, "old"],
      ["send", "/task", "q=1", undefined, "old"],
    ]);
    const got: unknown[] = [];
    await bench.start(
      "worker",
      setUp((what) => void got.push(what)),
    );
    assert.equal(await bench.broker.deadLetters("worker").replay("all"), 2);
    await eventually(() => got.length === 2, "both");
    assert.deepEqual(got.toSorted(), [
      ["event", "/orders/7", "old"],
      ["send", "/task", "old"],
    ]);
    assert.equal(await bench.depth("worker", "dead"), 0);
  });

  it("keeps letters for which there is no inbox, says so, and sends them when it is back", async (bench) => {
    const { seen, start } = counting(bench);
    await declare(bench, "worker");
    await craft(bench, "worker", 5);
    await (await bench.foreign()).deleteQueue(bench.queue("worker", "inbox"));
    const box = bench.broker.deadLetters("worker");
    const error = await rejection(box.replay("all"));
    assert.ok(isConfluoError(error, "NO_SUCH_SERVICE"), String(error));
    assert.deepEqual(error.data, { replayed: 0 });
    assert.deepEqual(idsOf(await box.list()), ["m-0", "m-1", "m-2", "m-3", "m-4"]);
    await start();
    assert.equal(await box.replay("all"), 5);
    await eventually(() => seen.size === 5, "all of them");
  });

  it("ends though its letters come back at once, and others with them", async (bench) => {
    let runs = 0;
    const worker = await bench.start("worker", (service) =>
      service.route("/task", () => {
        runs += 1;
        throw new ServiceError("poison", { retry: "never" });
      }),
    );
    await craft(bench, "worker", 50);
    const box = bench.broker.deadLetters("worker");
    const more = Array.from({ length: 20 }, (_, n) => worker.send("worker", "/task", n));
    const replayed = await box.replay("all");
    await Promise.all(more);
    assert.ok(replayed >= 50 && replayed <= 70, `${replayed}`);
    await eventually(() => runs === replayed + 20, "all runs");
    await eventually(async () => (await box.count()) === 70, "all letters");
  });

  it("is not taken for an earlier try of the same message that another instance has handled", async (bench) => {
    let runs = 0;
    let held = signalled();
    const holding = signalled();
    const done = signalled();
    await bench.start(
      "worker",
      (service) => {
        service.route("/task", ({ redelivered }) => {
          runs += 1;
          if (!redelivered) throw new Error("not yet");
          done.resolve();
        });
        service.route("/hold", () => {
          holding.resolve();
          return held.promise;
        });
      },
      { concurrency: { inbox: 1 } },
    );
    const manager = await bench.start("manager");
    await manager.send("worker", "/task");
    await listed(bench, "worker", 1);
    await manager.send("worker", "/hold");
    await holding.promise;
    // The instance is busy; another one gets the message that is replayed, and dies with it.
    const died = bench.dieWith("worker", "inbox", 1);
    assert.equal(await bench.broker.deadLetters("worker").replay("all"), 1);
    await died;
    held.resolve();
    held = signalled();
    await done.promise;
    assert.equal(runs, 2);
  });
};

function present(properties: Properties): object {
  return Object.fromEntries(Object.entries(properties).filter(([, value]) => value !== undefined));
}
