/** Events that come in one message: each is an event of its own. */

import assert from "node:assert/strict";
import type { Properties, Service } from "../../index.ts";
import { eventually } from "../eventually.ts";
import { type Bench, type Define, signalled } from "./suite.ts";

const type = "application/vnd.confluo.events+json";

export const gatheredEvents: Define = (it) => {
  it("are handled one by one, each with its own id, body, headers and query", async (bench) => {
    const seen: unknown[] = [];
    let running = 0;
    await bench.start("listener", (service) =>
      service.subscribe("/clicks/:page", async ({ kind, path, messageId, from, headers, query, body }) => {
        running += 1;
        assert.equal(running, 1);
        await new Promise((resolve) => setTimeout(resolve, 1));
        running -= 1;
        seen.push({ kind, path, messageId, from, headers, query, body });
      }),
    );
    await publish(bench, [
      { id: "a", body: { n: 1 } },
      { id: "b", body: "two", headers: { tenant: "acme", "confluo-attempt": "9" }, query: "x=1&x=2" },
      { id: "c" },
    ]);
    await eventually(() => seen.length === 3, "all three");
    const same = { kind: "event", path: "/clicks/home", from: "web", headers: {}, query: {} };
    assert.deepEqual(seen, [
      { ...same, messageId: "a", body: { n: 1 } },
      { ...same, messageId: "b", body: "two", headers: { tenant: "acme" }, query: { x: ["1", "2"] } },
      { ...same, messageId: "c", body: undefined },
    ]);
    await eventually(async () => (await bench.depth("listener", "inbox")) === 0, "the end");
  });

  it("are tried again and given up one by one", async (bench) => {
    const seen: string[] = [];
    const backoff = { firstMs: 1, maxMs: 1 };
    const setUp = (service: Service): unknown =>
      service.subscribe("/clicks/#", ({ messageId, attempt, body }) => {
        seen.push(`${messageId} ${attempt}`);
        if (body === "bad" || (body === "once" && attempt === 1)) throw new Error("no");
      });
    await bench.start("listener", setUp, { retry: { attempts: 2, backoff } });
    const bodies = ["good", "bad", "once", "good"];
    await publish(
      bench,
      bodies.map((body, n) => ({ id: `${n}`, body })),
    );
    await eventually(() => seen.length === 6, "four events and two retries");
    assert.deepEqual(seen.toSorted(), ["0 1", "1 1", "1 2", "2 1", "2 2", "3 1"]);
    const box = bench.broker.deadLetters("listener");
    await eventually(async () => (await box.count()) === 1, "the letter");
    const [letter] = await box.list();
    assert.deepEqual([letter?.messageId, letter?.body, letter?.path], ["1", "bad", "/clicks/home"]);
  });

  it("reach each instance, and each subscription", async (bench) => {
    const seen: string[] = [];
    for (const name of ["one", "two"])
      await bench.start("listener", (service) =>
        service
          .subscribe("/clicks/home", ({ messageId }) => void seen.push(`${name} ${messageId}`), {
            per: "instance",
          })
          .subscribe("/clicks/#", ({ messageId }) => void seen.push(`any ${messageId}`)),
      );
    await publish(bench, [{ id: "a" }, { id: "b" }]);
    await eventually(() => seen.length === 6, "all of them");
    assert.deepEqual(seen.toSorted(), ["any a", "any b", "one a", "one b", "two a", "two b"]);
  });

  it("come alone after the loss of the instance that had them, once each", async (bench) => {
    const seen: string[] = [];
    const setUp = (service: Service): unknown =>
      service.subscribe("/clicks/#", ({ messageId, redelivered }) => {
        seen.push(`${messageId} ${redelivered}`);
      });
    await bench.start("listener", setUp).then((each) => each.shutdown());
    await publish(
      bench,
      Array.from({ length: 20 }, (_, n) => ({ id: `m${n}` })),
    );
    await bench.dieWith("listener", "inbox", 1);
    await bench.start("listener", setUp);
    await eventually(() => seen.length === 20, "all of them");
    assert.deepEqual(new Set(seen), new Set(Array.from({ length: 20 }, (_, n) => `m${n} true`)));
    await eventually(async () => (await bench.depth("listener", "inbox.again")) === 0, "the end");
    assert.equal(seen.length, 20);
  });

  it("that were not begun go to another instance when theirs shuts down", async (bench) => {
    const seen: string[] = [];
    const begun = signalled();
    const finish = signalled();
    const first = await bench.start("listener", (service) =>
      service.subscribe("/clicks/#", async ({ messageId }) => {
        begun.resolve();
        await finish.promise;
        seen.push(messageId);
      }),
    );
    await publish(bench, [{ id: "a" }, { id: "b" }, { id: "c" }]);
    await begun.promise;
    const ending = first.shutdown();
    await eventually(async () => (await bench.depth("listener", "inbox")) === 2, "those given back");
    finish.resolve();
    await ending;
    assert.deepEqual(seen, ["a"]);
    await bench.start("listener", (service) =>
      service.subscribe("/clicks/#", ({ messageId }) => void seen.push(messageId)),
    );
    await eventually(() => seen.length === 3, "the others");
    assert.deepEqual(seen.toSorted(), ["a", "b", "c"]);
  });

  it("are one dead letter if they cannot be read", async (bench) => {
    let runs = 0;
    await bench.start("listener", (service) =>
      service.subscribe("/clicks/#", () => {
        runs += 1;
      }),
    );
    const many = Array.from({ length: 65 }, (_, n) => ({ id: `${n}` }));
    const bodies = ["", "{}", "[]", "[1]", '[{"body":1}]', JSON.stringify(many)];
    for (const body of bodies) await bench.publishForeign(events(bench), "clicks.home", body, properties);
    const box = bench.broker.deadLetters("listener");
    await eventually(async () => (await box.count()) === bodies.length, "the letters");
    for (const { error } of await box.list()) assert.equal(error?.code, "MALFORMED_MESSAGE");
    assert.equal(runs, 0);
  });

  it("that expired together are one dead letter, and are handled one by one when it is sent back", async (bench) => {
    const seen: unknown[] = [];
    const setUp = (service: Service): unknown =>
      service.subscribe("/clicks/#", ({ path, messageId, body }) => void seen.push([path, messageId, body]));
    await bench.start("listener", setUp).then((each) => each.shutdown());
    const entries = [
      { id: "a", body: 1 },
      { id: "b", body: 2 },
    ];
    const expiring = { ...properties, expiration: "1" };
    await bench.publishForeign(events(bench), "clicks.home", JSON.stringify(entries), expiring);
    const box = bench.broker.deadLetters("listener");
    await eventually(async () => (await box.count()) === 1, "the letter");
    await bench.start("listener", setUp);
    assert.equal(await box.replay("all"), 1);
    await eventually(() => seen.length === 2, "both");
    assert.deepEqual(seen, [
      ["/clicks/home", "a", 1],
      ["/clicks/home", "b", 2],
    ]);
  });

  it("are shown one by one to who watches", async (bench) => {
    const seen: unknown[] = [];
    const watch = await bench.broker.watch("/clicks/#", ({ messageId, body, from }) => {
      seen.push([messageId, body, from]);
    });
    await publish(bench, [{ id: "a", body: 1 }, { id: "b" }]);
    await bench.publishForeign(events(bench), "clicks.home", "broken", properties);
    await eventually(() => seen.length === 3, "all of them");
    assert.deepEqual(seen.slice(0, 2), [
      ["a", 1, "web"],
      ["b", undefined, "web"],
    ]);
    await watch.close();
  });

  it("are not whatever has a content type of confluo's that is reserved", async (bench) => {
    await bench.start("listener", (service) => service.subscribe("/clicks/#", () => undefined));
    const unknown = { ...properties, contentType: "application/vnd.confluo.values+json" };
    await bench.publishForeign(events(bench), "clicks.home", "[]", unknown);
    const { properties: found } = await bench.takeDead("listener");
    assert.equal(found.headers?.["confluo-error"], "MALFORMED_MESSAGE");
  });
};

const properties: Properties = { contentType: type, appId: "web", deliveryMode: 2, messageId: "first" };

function events(bench: Bench): string {
  return `${bench.broker.namespace}.events`;
}

function publish(bench: Bench, entries: readonly object[]): Promise<void> {
  return bench.publishForeign(events(bench), "clicks.home", JSON.stringify(entries), properties);
}
