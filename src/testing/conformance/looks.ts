/** Messages that somebody only looked at, which the broker marks as if an instance had died with them. */

import assert from "node:assert/strict";
import { eventually } from "../eventually.ts";
import { held } from "./mailbox.ts";
import { type Define, oneByOne } from "./suite.ts";

const COUNT = 60;

export const looks: Define = (it) => {
  it("handles suspects one at a time at first, and ever more of them at a time while the instance survives", async (bench) => {
    const setUp = async (): Promise<void> => {
      const service = await bench.start("worker", (each) => each.subscribe("/e", () => undefined));
      await service.shutdown();
    };
    await setUp();
    const sender = await bench.start("sender");
    await Promise.all(Array.from({ length: COUNT }, (_, n) => sender.publish("/e", n)));
    await bench.dieWith("worker", "inbox", COUNT);
    let running = 0;
    /** How many ran when each began, itself included. */
    const beside: number[] = [];
    const handled = new Set<unknown>();
    await bench.start("worker", (service) =>
      service.subscribe("/e", async ({ body, redelivered }) => {
        assert.equal(redelivered, true);
        running += 1;
        beside.push(running);
        await new Promise((resolve) => setTimeout(resolve, 10));
        running -= 1;
        handled.add(body);
      }),
    );
    await eventually(() => handled.size === COUNT, "all of them");
    assert.equal(beside.length, COUNT);
    assert.equal(beside[0], 1);
    const most = Math.max(...beside);
    assert.ok(most > 4 && most <= 64, `${most} at a time`);
  });

  it("runs a message with nothing beside it that an instance died with beside others", async (bench) => {
    const setUp = await bench.start("worker", (each) => each.route("/", () => undefined));
    await setUp.shutdown();
    const queue = bench.queue("worker", "inbox.again");
    for (let n = 0; n < COUNT; n += 1) {
      const headers = n % 10 === 9 ? { "confluo-deaths": "1" } : {};
      await bench.publishForeign("", queue, String(n), { type: "/", messageId: `m${n}`, headers });
    }
    let running = 0;
    const handled: number[] = [];
    const crowded: number[] = [];
    await bench.start("worker", (service) =>
      service.route("/", async ({ body }) => {
        running += 1;
        const before = running;
        await new Promise((resolve) => setTimeout(resolve, 5));
        if (Number(body) % 10 === 9 && (before > 1 || running > 1)) crowded.push(Number(body));
        running -= 1;
        handled.push(Number(body));
      }),
    );
    await eventually(() => handled.length >= COUNT, "all of them");
    assert.deepEqual(crowded, []);
    assert.deepEqual(
      handled.toSorted((a, b) => a - b),
      Array.from({ length: COUNT }, (_, n) => n),
    );
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
