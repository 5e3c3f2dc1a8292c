/** Events: who gets a copy, and which paths match. */

import assert from "node:assert/strict";
import { eventually } from "../eventually.ts";
import { type Define, signalled } from "./suite.ts";

export const events: Define = (it) => {
  it("gives every subscribed service its own copy, and one instance of each", async (bench) => {
    const got: string[] = [];
    for (const name of ["mail", "mail", "stock"]) {
      await bench.start(name, (service) => service.subscribe("/order/placed", () => void got.push(name)));
    }
    const shop = await bench.start("shop", (service) =>
      service.subscribe("/order/placed", () => void got.push("shop")),
    );
    await shop.publish("/order/placed", { id: 1 });
    await eventually(() => got.length >= 3, "three copies");
    await shop.publish("/order/placed", { id: 2 });
    await eventually(() => got.length >= 6, "six copies");
    assert.deepEqual(got.sort(), ["mail", "mail", "shop", "shop", "stock", "stock"]);
  });

  it("gives every instance a copy with per: instance", async (bench) => {
    const got: string[] = [];
    for (const i of ["1", "2"]) {
      await bench.start("cache", (service) =>
        service.subscribe("/flush", ({ body }) => void got.push(`${i} ${body}`), { per: "instance" }),
      );
    }
    await (await bench.start("admin")).publish("/flush", "all");
    await eventually(() => got.length === 2, "two copies");
    assert.deepEqual(got.sort(), ["1 all", "2 all"]);
  });

  it("resolves a publish that nobody listens to", async (bench) => {
    await (await bench.start("shop")).publish("/nobody/cares", 1);
  });

  it("shows the handler path, parameters, body, sender and headers", async (bench) => {
    const seen = signalled<object>();
    await bench.start("mail", (service) => {
      service.subscribe("/order/:id/placed", ({ kind, path, params, query, headers, body, from }) => {
        seen.resolve({ kind, path, params, query, headers, body, from });
      });
    });
    await (await bench.start("shop")).publish(
      "/order/7/placed",
      { total: 3 },
      { headers: { trace: "t" }, query: { dry: true } },
    );
    assert.deepEqual(await seen.promise, {
      kind: "event",
      path: "/order/7/placed",
      params: { id: "7" },
      query: { dry: "true" },
      headers: { trace: "t" },
      body: { total: 3 },
      from: "shop",
    });
  });

  it("matches patterns as the documentation says", async (bench) => {
    const patterns = [
      "/order/placed",
      "/order/*",
      "/order/#",
      "/*/placed",
      "/#",
      "/order/*/placed",
      "/#/placed",
      "MyFancyEvent",
      "/my/cool/path//event",
      "/my/cool/path/*/event",
    ];
    const got: [string, string][] = [];
    for (const [i, pattern] of patterns.entries()) {
      await bench.start(`listener-${i}`, (service) =>
        service.subscribe(pattern, ({ path }) => void got.push([pattern, path])),
      );
    }
    const shop = await bench.start("shop");
    const expected: Record<string, string[]> = {
      "/order/placed": ["/order/placed", "/order/*", "/order/#", "/*/placed", "/#", "/#/placed"],
      "/order": ["/order/#", "/#"],
      "/order/7/placed": ["/order/#", "/#", "/order/*/placed", "/#/placed"],
      "/MyFancyEvent": ["/#", "MyFancyEvent"],
      "/my/cool/path//event": ["/#", "/my/cool/path//event", "/my/cool/path/*/event"],
    };
    for (const path of Object.keys(expected)) await shop.publish(path, null);
    const total = Object.values(expected).flat().length;
    await eventually(() => got.length >= total, `${total} copies`);
    for (const [path, wanted] of Object.entries(expected)) {
      const matched = got.filter(([, seen]) => seen === path).map(([pattern]) => pattern);
      assert.deepEqual(matched.sort(), [...wanted].sort(), path);
    }
    assert.equal(got.length, total);
  });

  it("brings any legal path to its handler as it was published", async (bench) => {
    const paths = [
      "/a.b/c.d",
      "/spaces in it",
      "/ünï/cödé/😀",
      "/100%",
      "/a*b",
      "/#1",
      "/%2E",
      "/trailing/",
      "//double",
      "/a:b",
      "NoSlash",
    ];
    const got: string[] = [];
    await bench.start("listener", (service) => service.subscribe("/#", ({ path }) => void got.push(path)));
    const shop = await bench.start("shop");
    for (const path of paths) await shop.publish(path, null);
    await eventually(() => got.length === paths.length, "all events");
    assert.deepEqual(
      got,
      paths.map((path) => (path.startsWith("/") ? path : `/${path}`)),
    );
  });

  it("runs every matching subscription of a service for one copy", async (bench) => {
    const got: string[] = [];
    await bench.start("mail", (service) => {
      service.subscribe("/order/*", () => void got.push("star"));
      service.subscribe("/order/placed", () => void got.push("exact"));
    });
    await (await bench.start("shop")).publish("/order/placed");
    await eventually(() => got.length === 2, "both handlers");
    assert.deepEqual(got.sort(), ["exact", "star"]);
  });

  it("dead-letters for the failing subscription and does not run its neighbour again", async (bench) => {
    const neighbour: number[] = [];
    await bench.start("mail", (service) => {
      service.subscribe("/order/*", () => {
        throw new Error("no");
      });
      service.subscribe("/order/placed", () => void neighbour.push(1));
    });
    await (await bench.start("shop")).publish("/order/placed", { id: 3 });
    const { properties, body } = await bench.takeDead("mail");
    assert.equal(properties.headers?.["confluo-kind"], "event");
    assert.equal(properties.headers?.["confluo-path"], "/order/placed");
    assert.equal(properties.headers?.["confluo-subscription"], "/order/*");
    assert.equal(new TextDecoder().decode(body), '{"id":3}');
    await eventually(async () => (await bench.depth("mail", "inbox")) === 0, "an empty inbox");
    assert.deepEqual(neighbour, [1]);
    assert.equal(await bench.depth("mail", "dead"), 0);
  });

  it("keeps events for a subscribed service that is not running now", async (bench) => {
    const mail = await bench.start("mail", (service) => service.subscribe("/e", () => undefined));
    await mail.shutdown();
    await (await bench.start("shop")).publish("/e", "kept");
    const got = signalled<unknown>();
    await bench.start("mail", (service) => service.subscribe("/e", ({ body }) => got.resolve(body)));
    assert.equal(await got.promise, "kept");
  });

  it("dead-letters an event that nothing subscribes to any more as NO_SUBSCRIPTION", async (bench) => {
    const off = new AbortController();
    await bench.start("mail", (service) => {
      service.subscribe("/e", () => undefined, { signal: off.signal });
      service.subscribe("/other", () => undefined);
    });
    off.abort();
    await (await bench.start("shop")).publish("/e", 1);
    const { properties } = await bench.takeDead("mail");
    assert.equal(properties.headers?.["confluo-error"], "NO_SUBSCRIPTION");
  });

  it("logs a failing per-instance subscription and goes on", async (bench) => {
    const got: unknown[] = [];
    await bench.start("cache", (service) => {
      service.subscribe(
        "/flush",
        ({ body }) => {
          got.push(body);
          if (body === "bad") throw new Error("no");
        },
        { per: "instance" },
      );
    });
    const admin = await bench.start("admin");
    await admin.publish("/flush", "bad");
    await admin.publish("/flush", "good");
    await eventually(() => got.length === 2, "both copies");
    await eventually(
      () => bench.log.some(({ level, message }) => level === "error" && message.includes("/flush")),
      "the log line",
    );
    assert.equal(await bench.depth("cache", "dead"), 0);
  });

  it("subscribes and routes after connect", async (bench) => {
    const got = signalled<unknown>();
    const late = await bench.start("late");
    late.subscribe("/e", ({ body }) => got.resolve(body));
    late.route("/r", () => "routed");
    await late.connect();
    await late.publish("/e", "hello");
    assert.equal(await got.promise, "hello");
    assert.equal((await late.call("late", "/r")).body, "routed");
  });

  it("ends a per-instance subscription with its signal", async (bench) => {
    const off = new AbortController();
    const got: string[] = [];
    const cache = await bench.start("cache", (service) => {
      service.subscribe("/a", () => void got.push("a"), { per: "instance", signal: off.signal });
      service.subscribe("/b", () => void got.push("b"), { per: "instance" });
    });
    off.abort();
    await cache.connect();
    await cache.publish("/a");
    await cache.publish("/b");
    await eventually(() => got.includes("b"), "the other event");
    assert.deepEqual(got, ["b"]);
  });

  it("brings 10,000 events to three services of two instances, each exactly once", async (bench) => {
    const seen = new Map<string, Map<number, number>>();
    for (const name of ["x", "y", "z"]) {
      const counts = new Map<number, number>();
      seen.set(name, counts);
      for (const _ of [0, 1]) {
        await bench.start(name, (service) => {
          service.subscribe(
            "/tick/*",
            ({ body }) => void counts.set(body as number, (counts.get(body as number) ?? 0) + 1),
          );
        });
      }
    }
    const source = await bench.start("source");
    const total = 10_000;
    for (let from = 0; from < total; from += 500) {
      await Promise.all(Array.from({ length: 500 }, (_, i) => source.publish("/tick/tock", from + i)));
    }
    await eventually(() => [...seen.values()].every((counts) => counts.size === total), "all events", {
      timeoutMs: 30_000,
    });
    for (const [name, counts] of seen) {
      assert.ok(
        [...counts.values()].every((count) => count === 1),
        `${name} got some event twice`,
      );
      await eventually(async () => (await bench.depth(name, "inbox")) === 0, `an empty inbox of ${name}`);
      assert.equal(await bench.depth(name, "dead"), 0);
    }
  });
};
