/** What comes back to a queue that is gone, and bindings that nobody wants any more. */

import assert from "node:assert/strict";
import { isConfluoError, type Service, ServiceError } from "../../index.ts";
import { eventually } from "../eventually.ts";
import { declare, publishMany } from "./letters.ts";
import { type Bench, type Define, rejection, signalled } from "./suite.ts";

export const orphans: Define = (it) => {
  it("holds up nobody's retries when the inbox that others wait for is deleted, and keeps those", async (bench) => {
    await declare(bench, "gone");
    const inbox = bench.queue("gone", "inbox");
    const { namespace } = bench.broker;
    // More than a quorum queue lets be on their way out of it at a time, which is 32.
    const headers = { "confluo-kind": "send", "confluo-path": "/task", "confluo-attempt": "2" };
    await declareSecond(bench);
    const key = `${"0.".repeat(23)}1.0.0.${inbox}`;
    await publishMany(bench, { exchange: `${namespace}.wait.2`, key }, 64, { headers });
    await (await bench.foreign()).deleteQueue(inbox);
    const served = signalled();
    await bench.start("other", (service) =>
      service.route(
        "/task",
        ({ attempt }) => {
          if (attempt < 3) throw new ServiceError("busy", { retry: { afterMs: 1_000 } });
          served.resolve();
        },
        { retry: { attempts: 3 } },
      ),
    );
    const manager = await bench.start("manager");
    await manager.send("other", "/task");
    await served.promise;

    const box = bench.broker.orphans();
    await eventually(async () => (await box.count()) === 64, "64 orphans");
    const found = await box.list();
    assert.equal(found.length, 64);
    for (const { queue, path, kind, reason } of found)
      assert.deepEqual([queue, path, kind, reason], [inbox, "/task", "send", undefined]);
    const error = await rejection(box.replay("all"));
    assert.ok(isConfluoError(error, "NO_SUCH_SERVICE"), String(error));
    assert.match(error.message, /gone\.inbox/);
    assert.equal(await box.count(), 64);

    const got = new Set<unknown>();
    await bench.start("gone", (service) =>
      service.route("/task", ({ body, attempt }) => void got.add(`${body} ${attempt}`)),
    );
    assert.equal(await box.replay(({ body }) => (body as number) >= 60), 4);
    assert.equal(await box.replay("all"), 60);
    await eventually(() => got.size === 64, "all of them");
    assert.ok(got.has("63 1"));
    assert.equal(await box.count(), 0);
  });

  it("are also letters whose dead-letter queue is gone, and go back to it", async (bench) => {
    await declare(bench, "worker");
    const dead = bench.queue("worker", "dead");
    await (await bench.foreign()).deleteQueue(dead);
    const manager = await bench.start("manager");
    await manager.send("worker", "/task", 1, { expiresMs: 1, messageId: "m" });
    const box = bench.broker.orphans();
    await eventually(async () => (await box.count()) === 1, "an orphan");
    const [orphan] = await box.list();
    assert.deepEqual([orphan?.id, orphan?.queue, orphan?.reason], ["m", dead, "expired"]);
    await declare(bench, "worker");
    assert.equal(await box.replay("all"), 1);
    const [letter] = await bench.broker.deadLetters("worker").list();
    assert.deepEqual(
      [letter?.id, letter?.path, letter?.queue],
      ["m", "/task", bench.queue("worker", "inbox")],
    );
    assert.deepEqual(letter?.failedAt, orphan?.failedAt);
  });

  it("unbinds a pattern of a service, and nothing else", async (bench) => {
    const got: string[] = [];
    const listener = await bench.start("listener", (service) => {
      service.subscribe("/orders/:id/placed", ({ path }) => void got.push(path));
      service.subscribe("/orders/:id/paid", ({ path }) => void got.push(path));
    });
    await bench.start("neighbour", (service) =>
      service.subscribe("/orders/*/placed", ({ path }) => void got.push(`neighbour ${path}`)),
    );
    const shop = await bench.start("shop");
    await shop.publish("/orders/1/placed");
    await eventually(() => got.length === 2, "both");
    for (let times = 0; times < 2; times += 1) await bench.broker.unbind("listener", "orders/*/placed");
    await bench.broker.unbind("listener", "/never/bound");
    await bench.broker.unbind("nobody", "/never/bound");
    await shop.publish("/orders/2/placed");
    await shop.publish("/orders/3/paid");
    await eventually(() => got.length === 4, "the neighbour's and the other pattern's");
    assert.deepEqual(got.toSorted(), [
      "/orders/1/placed",
      "/orders/3/paid",
      "neighbour /orders/1/placed",
      "neighbour /orders/2/placed",
    ]);
    assert.equal(await bench.depth("listener", "inbox"), 0);
    // Who still subscribes binds again with the next connection.
    await listener.shutdown();
    await listener.connect();
    await shop.publish("/orders/4/placed");
    await eventually(() => got.includes("/orders/4/placed"), "the pattern again");
  });
};

/** Has a message wait for a second, so that the level for that exists. */
async function declareSecond(bench: Bench): Promise<void> {
  const waited = signalled();
  const setUp = (service: Service): Service =>
    service.route("/once", ({ attempt }) => {
      if (attempt === 1) throw new ServiceError("busy", { retry: { afterMs: 1_000 } });
      waited.resolve();
    });
  const first = await bench.start("first", setUp, { retry: { attempts: 2 } });
  await first.send("first", "/once");
  await waited.promise;
}
