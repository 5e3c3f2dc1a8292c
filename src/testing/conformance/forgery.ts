/** A service that was called once knows where its caller takes answers: that must not be enough to answer for others. */

import assert from "node:assert/strict";
import type { Message } from "../../index.ts";
import { eventually } from "../eventually.ts";
import { absent, held, messageOf, REPLIES, standIn } from "./mailbox.ts";
import { type Define, oneByOne } from "./suite.ts";

export const forgery: Define = (it) => {
  it("takes no answer from a service that counts on from a call of its own", async (bench) => {
    const { free, release } = held();
    let asked = 0;
    await bench.start("bank", (service) =>
      service.route("/balance", async () => {
        asked += 1;
        await free;
        return 5;
      }),
    );
    await absent(bench, "evil");
    const evil = await standIn(bench, "evil", (message, client) => {
      const { replyTo = "", correlationId } = message.properties;
      if (correlationId !== undefined) client.post(replyTo, messageOf("1", { correlationId }));
    });
    const caller = await bench.start("caller", undefined, oneByOne);
    await caller.call("evil", "/");
    const calls = Array.from({ length: 3 }, () => caller.call("bank", "/balance"));
    await eventually(() => asked === 3, "the calls to the bank");
    const [{ properties }] = evil.messages as readonly [Message];
    const { replyTo = "", correlationId = "" } = properties;
    const client = await bench.foreign();
    const ids = neighbours(correlationId);
    for (const id of ids) client.post(replyTo, messageOf("1000000", { correlationId: id }));
    const entries = ids
      .flatMap((id) => [
        { id, again: true },
        { id, body: 1_000_000 },
      ])
      .slice(0, 256);
    client.post(replyTo, messageOf(JSON.stringify(entries), { contentType: REPLIES }));
    // Behind all that, on its way through the same queue.
    const last = caller.call("evil", "/");
    await last;
    release();
    for (const { body } of await Promise.all(calls)) assert.equal(body, 5);
    assert.equal(asked, 3);
  });
};

/** An id with each number at its end counted on. */
function neighbours(id: string): readonly string[] {
  const found = /^(.*?)(\d+)\.(\d+)$/.exec(id);
  assert.ok(found !== null, id);
  const [, start = "", serial] = found;
  const counts = Array.from({ length: 8 }, (_, n) => Number(serial) + n);
  return counts.flatMap((count) => Array.from({ length: 6 }, (_, place) => `${start}${count}.${place}`));
}
