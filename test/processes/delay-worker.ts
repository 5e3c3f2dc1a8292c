/** An instance that notes when delayed messages reach it. It can be killed at any moment. */

import { appendFileSync } from "node:fs";
import { Broker, Service, silentLogger } from "../../src/index.ts";

/** The body of a delayed message. */
export interface DelayedTask {
  readonly id: number;
  /** When it is due, in milliseconds of this host's clock. */
  readonly dueAt: number;
}

const [url = "", namespace = "", ledger = ""] = process.argv.slice(2);

if (url !== "") {
  process.on("disconnect", () => process.exit(1)); // whoever started it is gone
  const broker = new Broker(url, { namespace, logger: silentLogger });
  const worker = new Service("worker", { broker, logger: silentLogger });
  const note = (body: unknown): void => {
    const { id, dueAt } = body as DelayedTask;
    appendFileSync(ledger, `${id} ${Date.now() - dueAt}\n`);
  };
  worker.route("/task", ({ body }) => note(body)).subscribe("/event", ({ body }) => note(body));
  await worker.connect();
  process.send?.("ready");
}
