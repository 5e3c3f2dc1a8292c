/** Services that are down, and what waits: seen though nobody answers for them. */

import assert from "node:assert/strict";
import { command, event, ServiceError } from "../../index.ts";
import { eventually } from "../eventually.ts";
import { type Define, rejection } from "./suite.ts";

export const overview: Define = (it) => {
  it("sees a service that is down by those who call it, send to it or heard from it", async (bench) => {
    for (const name of ["mail", "stock", "prices"]) {
      const gone = await bench.start(name, (service) => service.route("/x/:id", () => 1));
      if (name === "prices") {
        await bench.start("shop", (shop) => shop.subscribe("/priced", () => undefined));
        await gone.publish("/priced");
        await eventually(async () => {
          const [shop] = await bench.broker.stats({ service: "shop" });
          return shop?.subscriptions[0]?.handled === 1;
        }, "the event");
      }
      await gone.shutdown();
    }
    const web = await bench.start("web");
    for (let n = 0; n < 3; n += 1) await web.send(command("mail", "/x/:id").at({ id: n }));
    await rejection(web.call("stock", "/x/1", undefined, { timeoutMs: 100 }));
    await rejection(web.call("nobody", "/x"));
    const { services, missing, lookedFor, delays } = await bench.broker.overview();
    assert.deepEqual(
      services.map(({ service, instances, queues }) => [service, instances.length, queues.inbox?.messages]),
      [
        ["mail", 0, 3],
        ["prices", 0, 0],
        ["shop", 1, 0],
        ["stock", 0, 0],
        ["web", 1, undefined],
      ],
    );
    assert.deepEqual(missing, ["nobody"]);
    assert.deepEqual(lookedFor, ["mail", "nobody", "prices", "shop", "stock", "web"]);
    assert.deepEqual(delays, []);
    const [info] = await bench.broker.discover({ service: "web" });
    assert.deepEqual(info?.sends, [{ service: "mail", path: "/x/:id" }]);
    assert.deepEqual(info?.calls, [{ service: "stock" }, { service: "nobody" }]);
  });

  it("looks for services that are named, and knows no others that are down", async (bench) => {
    assert.deepEqual(await bench.broker.overview(), {
      services: [],
      missing: [],
      lookedFor: [],
      delays: [],
      delayed: [],
      orphans: undefined,
    });
    const mail = await bench.start("mail", (service) => service.route("/", () => 1));
    await mail.shutdown();
    assert.deepEqual((await bench.broker.overview()).services, []);
    const { services, missing } = await bench.broker.overview({ services: ["mail", "maul"] });
    assert.deepEqual([services.map(({ service }) => service), missing], [["mail"], ["maul"]]);
    for (const wrong of [["a b"], "mail", [5]])
      assert.equal(
        ((await rejection(bench.broker.overview({ services: wrong as string[] }))) as { code: string }).code,
        "INVALID_ARGUMENT",
      );
  });

  it("counts what waits to be tried again, for whom, and in the delay queues", async (bench) => {
    const failing = { retry: { attempts: 3 }, unhandledRetryMs: 60_000 };
    await bench.start(
      "orders",
      (orders) => {
        orders.subscribe("/placed", () => {
          throw new ServiceError("not now", { retry: { afterMs: 300_000 } });
        });
        orders.route("/known", () => 1);
      },
      failing,
    );
    const web = await bench.start("web");
    const placed = event("/placed");
    await Promise.all(Array.from({ length: 20 }, () => web.publish(placed)));
    await eventually(async () => {
      const { services, delays } = await bench.broker.overview();
      const [orders] = services;
      const waits = delays.reduce((sum, { messages }) => sum + messages, 0);
      return orders?.subscriptions[0]?.waiting === 20 && waits >= 20;
    }, "twenty to wait");
    const { services } = await bench.broker.overview();
    assert.equal(services[0]?.routes[0]?.waiting, 0);
    assert.deepEqual(services[1]?.publishes, [{ path: "/placed", count: 20 }]);
    await web.send("orders", "/unknown");
    await eventually(async () => {
      const [{ unclaimed } = { unclaimed: 0 }] = await bench.broker.stats({ service: "orders" });
      return unclaimed === 1;
    }, "one without a handler");
  });
};
