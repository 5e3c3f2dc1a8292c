/** Services whose names are words of the namespace's own: in `<ns>.wait.2` messages wait on purpose, `<ns>.wait.inbox` is a service's. */

import assert from "node:assert/strict";
import { eventually } from "../eventually.ts";
import { type Bench, type Define, signalled } from "./suite.ts";

const words = [
  "wait",
  "due",
  "history",
  "events",
  "back",
  "orphans",
  "discovery",
  "inbox",
  "dead",
  "calls",
  "2",
] as const;

export const nameClashes: Define = (it) => {
  for (const name of words) {
    it(`keeps what expired in the inbox of a service named ${name}, and sends it back`, async (bench) => {
      await (
        await bench.start(
          name,
          handling(() => undefined),
        )
      ).shutdown();
      const client = await bench.start("client");
      await client.publish("/e/7", 1, { expiresMs: 1 });
      await client.send(name, "/c", 2, { expiresMs: 1 });
      const box = bench.broker.deadLetters(name);
      await eventually(async () => (await box.count()) === 2, "both letters");
      const told = (await box.list()).map(({ kind, path, reason, queue }) => ({ kind, path, reason, queue }));
      const death = { reason: "expired", queue: bench.queue(name, "inbox") };
      assert.deepEqual(
        told.toSorted((a, b) => a.path.localeCompare(b.path)),
        [
          { kind: "send", path: "/c", ...death },
          { kind: "event", path: "/e/7", ...death },
        ],
      );
      const seen = new Set<unknown>();
      const all = signalled();
      await bench.start(
        name,
        handling((body) => {
          seen.add(body);
          if (seen.size === 2) all.resolve();
        }),
      );
      assert.equal(await box.replay("all"), 2);
      await all.promise;
      assert.equal((await client.call(name, "/c", 3)).status, 200);
    });
  }
};

function handling(seen: (body: unknown) => void): (service: Awaited<ReturnType<Bench["start"]>>) => unknown {
  return (service) =>
    service
      .subscribe("/e/:id", ({ body }) => seen(body))
      .route("/c", ({ body, kind }) => (kind === "send" ? seen(body) : undefined));
}
