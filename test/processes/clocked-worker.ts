/** An instance that tells its clock, and how long its handlers were given. */

import { Broker, Service, ServiceError, silentLogger } from "../../src/index.ts";

const [url = "", namespace = ""] = process.argv.slice(2);
process.on("disconnect", () => process.exit(1)); // whoever started it is gone

const broker = new Broker(url, { namespace, logger: silentLogger });
const worker = new Service("worker", { broker, logger: silentLogger });
let given: number | null = null;

worker
  .route("/now", () => Date.now())
  .route("/given", () => given)
  .route("/slow", async ({ signal }) => {
    const began = performance.now();
    await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    given = performance.now() - began;
  })
  .route("/task", ({ attempt, body }) => {
    if (attempt === 1) throw new ServiceError("not yet", { retry: { afterMs: 250 } });
    process.send?.({ attempt, body });
  });

await worker.connect();
process.send?.("ready");
