/** Messages that somebody only looked at, which the broker marks as if an instance had died with them. */

import assert from "node:assert/strict";
import type { Service } from "../../index.ts";
import { eventually } from "../eventually.ts";
import { held } from "./mailbox.ts";
import { type Define, oneByOne } from "./suite.ts";

const CROWD = 60;

export const looks: Define = (it) => {
  it("handles a crowd of events that was looked at side by side, but for a few, and dead-letters none", async (bench) => {
    const declared = await bench.start("worker", (each) => each.subscribe("/e", () => undefined));
    await declared.shutdown();
    const sender = await bench.start("sender");
    await Promise.all(Array.from({ length: CROWD }, (_, n) => sender.publish("/e", n)));
    await bench.dieWith("worker", "inbox", CROWD);
    let running = 0;
    let most = 0;
    const handled: number[] = [];
    await bench.start("worker", (service) =>
      service.subscribe("/e", async ({ body, redelivered, attempt }) => {
        assert.deepEqual([redelivered, attempt], [true, 1]);
        running += 1;
        most = Math.max(most, running);
        await new Promise((resolve) => setTimeout(resolve, 20));
        running -= 1;
        handled.push(body as number);
      }),
    );
    await eventually(() => handled.length >= CROWD, "all of them");
    assert.equal(new Set(handled).size, CROWD);
    assert.equal(handled.length, CROWD);
    assert.ok(most > 8, `${most} at a time`);
    assert.equal(await bench.depth("worker", "dead"), 0);
  });

  it("tries what was lost twice in a crowd alone, and gives it up if it is lost once more", async (bench) => {
    const setUp = (each: Service): Service => each.route("/deadly", () => assert.fail("it ran here"));
    const declared = await bench.start("worker", setUp);
    await declared.shutdown();
    await bench.publishForeign("", bench.queue("worker", "inbox"), "1", {
      type: "/deadly",
      headers: { "confluo-deaths": "1" },
    });
    await bench.dieWith("worker", "inbox", 1);
    const died = bench.dieWith("worker", "inbox.again", 1);
    const again = bench.queue("worker", "inbox.again");
    await eventually(async () => (await bench.broker.queue(again))?.consumers === 1, "a consumer");
    await bench.start("worker", setUp);
    assert.equal((await died)[0]?.properties.headers?.["confluo-deaths"], "1");
    const { headers = {} } = (await bench.takeDead("worker")).properties;
    assert.equal(headers["confluo-error"], "INSTANCE_LOST");
  });

  it("runs calls that were only looked at while they waited to be run alone", async (bench) => {
    const begun: unknown[] = [];
    const gates = [held(), held()];
    await bench.start(
      "worker",
      (service) =>
        service.route("/", async ({ body }) => {
          begun.push(body);
          await gates[begun.length - 1]?.free;
          return body;
        }),
      { concurrency: { calls: 1 }, ...oneByOne },
    );
    const caller = await bench.start("caller", undefined, oneByOne);
    const calls = [0, 1, 2, 3].map((n) => caller.call("worker", "/", n));
    await eventually(() => begun.length === 1, "the first");
    await eventually(async () => (await bench.depth("worker", "calls")) === 3, "the others");
    await bench.dieWith("worker", "calls", 3);
    gates[0]?.release();
    await eventually(() => begun.length === 2, "the second, alone");
    await eventually(async () => (await bench.depth("worker", "calls.again")) === 2, "the last two");
    await bench.dieWith("worker", "calls.again", 2);
    gates[1]?.release();
    const bodies = (await Promise.all(calls)).map(({ body }) => body);
    assert.deepEqual(bodies, [0, 1, 2, 3]);
    assert.equal(begun.length, 4);
  });
};
