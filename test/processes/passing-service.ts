/** A service in a process of its own that passes on what it is asked for to the next, as often as the path says. */

import { Broker, Service, silentLogger } from "../../src/index.ts";

const [url = "", namespace = "", name = "", next = "", concurrency = "{}"] = process.argv.slice(2);
const orphaned = (): void => process.exit(1); // whoever started it is gone
process.on("disconnect", orphaned);

const broker = new Broker(url, { namespace, logger: silentLogger });
const service = new Service(name, { broker, logger: silentLogger, concurrency: JSON.parse(concurrency) });
service
  .route("/pass/:left", async ({ params: { left }, body }) =>
    left === "0" ? body : (await service.call(next, `/pass/${Number(left) - 1}`, body)).body,
  )
  .route("/flat", ({ body }) => body)
  .onState(({ to }) => {
    if (to === "running") process.send?.("ready");
  });
await service.run();
process.removeListener("disconnect", orphaned);
process.disconnect();
