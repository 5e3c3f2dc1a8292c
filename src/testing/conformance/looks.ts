/** Messages that somebody only looked at, which the broker marks as if an instance had died with them. */

import assert from "node:assert/strict";
import { eventually } from "../eventually.ts";
import { held } from "./mailbox.ts";
import { type Define, oneByOne } from "./suite.ts";

export const looks: Define = (it) => {
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
