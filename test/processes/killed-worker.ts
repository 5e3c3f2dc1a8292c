/** An instance whose handlers are killed, process and all, by a body that says so. */

import { appendFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Broker, Service, silentLogger } from "../../src/index.ts";

/** The body that kills. */
export const POISON = "poison";

const [url = "", namespace = "", ledger = ""] = process.argv.slice(2);

if (url !== "") {
  process.on("disconnect", () => process.exit(1)); // whoever started it is gone
  const broker = new Broker(url, { namespace, logger: silentLogger });
  const worker = new Service("worker", { broker, logger: silentLogger });
  // Others are given their share before it strikes, and none of them has ended by then.
  const work = async (body: unknown): Promise<unknown> => {
    if (body !== POISON) return sleep(20, body);
    await sleep(10);
    process.kill(process.pid, "SIGKILL");
    return sleep(10_000);
  };
  worker.route("/call", ({ body }) => work(body));
  worker.subscribe("/event", async ({ body }) => {
    await work(body);
    appendFileSync(ledger, `${body}\n`);
  });
  await worker.connect();
  process.send?.("ready");
}
