/** Three services, one of which fails until it is told better. */

import { existsSync } from "node:fs";
import { Broker, Service, silentLogger } from "../../src/index.ts";

const [url = "", namespace = "", mended = ""] = process.argv.slice(2);
const broker = new Broker(url, { namespace, logger: silentLogger });
const options = { logger: silentLogger, retry: { attempts: 1 } };
const orders = new Service("orders", { ...options, version: "1.4.2" });
orders.route("/orders/:id", ({ params }) => ({ id: params.id }));
orders.route("/place", async ({ body }) => {
  await orders.publish("/orders/placed", body);
  return "placed";
});
const stock = new Service("stock", options).subscribe("/orders/placed", () => undefined);
const mail = new Service("mail", options).subscribe("/orders/placed", () => {
  if (!existsSync(mended)) throw new Error("the mail server refused");
});
await Promise.all([orders, stock, mail].map((service) => service.connect(broker)));
process.on("SIGTERM", () => {
  void Promise.all([orders, stock, mail].map((service) => service.shutdown())).then(() =>
    process.disconnect(),
  );
});
process.send?.("ready");
