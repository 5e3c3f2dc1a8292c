/**
 * Two services that call each other in one process, each with connections of its own, and a third that is a client. Each
 * calls the next only when it is told to, in the middle of a handler.
 */

import { once } from "node:events";
import { Broker, Service, silentLogger } from "../../src/index.ts";

const [url = "", namespace = ""] = process.argv.slice(2);
const orphaned = (): void => process.exit(1); // whoever started it is gone
process.on("disconnect", orphaned);

const start = (name: string): Service =>
  new Service(name, { broker: new Broker(url, { namespace, logger: silentLogger }), logger: silentLogger });
const [left, right] = [start("left"), start("right")];
const client = await start("go-between").connect();

// A second signal would end the process at once: the first is told to whoever waits for it.
const stopping = once(process, "SIGTERM");
left.route("/start", async ({ body }) => {
  process.send?.("begun");
  await stopping;
  await new Promise((resolve) => setTimeout(resolve, 300));
  return (await client.call("right", "/on", body)).body;
});
right.route("/on", async ({ body }) => (await right.call("left", "/leaf", body)).body);
left.route("/leaf", ({ body }) => body);

const running = [left.run(), right.run()];
for (const service of [left, right])
  service.onState(() => {
    if (left.state === "running" && right.state === "running") process.send?.("ready");
  });
await Promise.all(running);
await client.shutdown();
process.removeListener("disconnect", orphaned);
process.disconnect();
