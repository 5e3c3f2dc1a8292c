/** An instance as people run it: `run()`, until SIGTERM. Every handling is written down before it counts. */

import { appendFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Broker, Service, silentLogger } from "../../src/index.ts";

const [url = "", namespace = "", ledger = ""] = process.argv.slice(2);
const orphaned = (): void => process.exit(1); // whoever started it is gone
process.on("disconnect", orphaned);

const broker = new Broker(url, { namespace, logger: silentLogger });
const worker = new Service("worker", { broker, logger: silentLogger });
const handle = async ({ body }: { readonly body: unknown }): Promise<unknown> => {
  await sleep(5);
  appendFileSync(ledger, `${body}\n`);
  return body;
};
worker
  .route("/task", handle)
  .route("/call", ({ body }) => sleep(5, body))
  .subscribe("/event", handle)
  .onState(({ to }) => {
    if (to === "running") process.send?.("ready");
  });
await worker.run();
process.removeListener("disconnect", orphaned);
process.disconnect();
