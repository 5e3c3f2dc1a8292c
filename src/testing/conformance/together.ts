/** Services of one process that are shut down together: nobody stops answering before all have finished what they had. */

import assert from "node:assert/strict";
import type { Service } from "../../index.ts";
import { eventually } from "../eventually.ts";
import { type Bench, type Define, rejection, signalled } from "./suite.ts";

/** Far below the wait of a shutdown: one that waits for an answer that does not come takes all of that. */
const SOON_MS = 4_000;

export const together: Define = (it) => {
  it("answers what services that are shut down together call among each other while they drain", async (bench) => {
    const { left, right, caller, begun, go } = await pair(bench);
    const answer = caller.call("left", "/start", 7);
    await begun.promise;
    const leaving = soon([left.shutdown(), right.shutdown()]);
    await new Promise((resolve) => setTimeout(resolve, 100)); // enough for one that has nothing to do
    go.resolve();
    assert.equal((await answer).body, 7);
    await leaving;
    assert.deepEqual([left.state, right.state], ["stopped", "stopped"]);
  });

  it("does so for handlers of events, and for calls that a third service makes for them", async (bench) => {
    const { left, right, caller, begun, go } = await pair(bench);
    const third = await bench.start("third");
    const told = signalled<unknown>();
    const teller = await bench.start("teller", (service) =>
      service.subscribe("/told", async ({ body }) => {
        begun.resolve();
        await go.promise;
        told.resolve((await third.call("right", "/on", body)).body);
      }),
    );
    await caller.publish("/told", 3);
    await begun.promise;
    const leaving = soon([left, right, teller].map((service) => service.shutdown()));
    await new Promise((resolve) => setTimeout(resolve, 100));
    go.resolve();
    assert.equal(await told.promise, 3);
    await leaving;
    await third.shutdown();
  });

  it("answers what a service calls of itself while it drains", async (bench) => {
    const begun = signalled();
    const go = signalled();
    const self = await bench.start("self", (service) =>
      service
        .route("/start", async ({ body }) => {
          begun.resolve();
          await go.promise;
          return (await service.call("self", "/leaf", body)).body;
        })
        .route("/leaf", ({ body }) => body),
    );
    const caller = await bench.start("caller");
    const answer = caller.call("self", "/start", 7);
    await begun.promise;
    const leaving = soon([self.shutdown()]);
    await new Promise((resolve) => setTimeout(resolve, 100));
    go.resolve();
    assert.equal((await answer).body, 7);
    await leaving;
  });

  it("answers calls of theirs that still wait in a queue when they are shut down", async (bench) => {
    const go = signalled();
    let begun = 0;
    const slow = await bench.start(
      "slow",
      (service) =>
        service.route("/", async ({ body }) => {
          begun += 1;
          await go.promise;
          return body;
        }),
      { concurrency: { calls: 1 } },
    );
    const asker = await bench.start("asker", (service) =>
      service.route("/", async ({ body }) => (await service.call("slow", "/", body)).body),
    );
    const caller = await bench.start("caller");
    const answers = Array.from({ length: 12 }, (_, n) => caller.call("asker", "/", n));
    await eventually(() => begun === 1 && asker.stats().calling === 12, "all to be asked");
    const leaving = soon([asker.shutdown(), slow.shutdown()]);
    await new Promise((resolve) => setTimeout(resolve, 100));
    go.resolve();
    assert.deepEqual(
      (await Promise.all(answers)).map(({ body }) => body),
      Array.from({ length: 12 }, (_, n) => n),
    );
    await leaving;
  });

  it("leaves commands that come meanwhile in their inbox, and calls to the instances that stay", async (bench) => {
    const { left, right, caller, begun, go } = await pair(bench);
    const answer = caller.call("left", "/start", 7);
    await begun.promise;
    const leaving = soon([left.shutdown(), right.shutdown()]);
    await new Promise((resolve) => setTimeout(resolve, 100));
    const successor = await bench.start("right", (service) => service.route("/on", () => "successor"));
    for (let n = 0; n < 5; n += 1) assert.equal((await caller.call("right", "/on")).body, "successor");
    await caller.send("left", "/task");
    await eventually(async () => (await bench.depth("left", "inbox")) === 1, "the command");
    go.resolve();
    assert.equal((await answer).body, 7);
    await leaving;
    await successor.shutdown();
  });

  it("waits for none that hangs beyond its own bound", async (bench) => {
    const { left, right, caller, begun } = await pair(bench);
    const call = rejection(caller.call("left", "/start", 7, { timeoutMs: 2_000 }));
    await begun.promise;
    const began = performance.now();
    await Promise.all([left.shutdown({ timeoutMs: 300 }), right.shutdown({ timeoutMs: 600 })]);
    assert.ok(performance.now() - began < SOON_MS);
    await call;
    // And nothing of it is left behind.
    await soon([caller.shutdown()]);
  });

  it("connects and answers again after they have left together", async (bench) => {
    const { left, right, caller, go } = await pair(bench);
    go.resolve();
    for (let times = 0; times < 3; times += 1) {
      assert.equal((await caller.call("left", "/start", times)).body, times);
      await soon([left.shutdown(), right.shutdown()]);
      await Promise.all([left.connect(), right.connect()]);
    }
    assert.equal((await caller.call("left", "/start", 7)).body, 7);
  });
};

/** Two services: a call to the first begins, and when it may go on, goes to the second, from there to the first, and back. */
async function pair(bench: Bench): Promise<{
  readonly left: Service;
  readonly right: Service;
  readonly caller: Service;
  readonly begun: ReturnType<typeof signalled<void>>;
  readonly go: ReturnType<typeof signalled<void>>;
}> {
  const begun = signalled();
  const go = signalled();
  const left = await bench.start("left", (service) =>
    service
      .route("/start", async ({ body }) => {
        begun.resolve();
        await go.promise;
        return (await service.call("right", "/on", body)).body;
      })
      .route("/leaf", ({ body }) => body),
  );
  const right = await bench.start("right", (service) =>
    service.route("/on", async ({ body }) => (await service.call("left", "/leaf", body)).body),
  );
  return { left, right, caller: await bench.start("caller"), begun, go };
}

async function soon(shutdowns: readonly Promise<void>[]): Promise<void> {
  const began = performance.now();
  await Promise.all(shutdowns);
  const ms = performance.now() - began;
  assert.ok(ms < SOON_MS, `they left after ${Math.round(ms)} ms`);
}
