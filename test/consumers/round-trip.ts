/** Two services say to each other what there is to say, on the broker of the environment. Prints what came of it, and ends. */

import { RemoteError, Service, ServiceError } from "confluo";
import { eventually } from "confluo/testing";

const stock = new Service("stock");
const shop = new Service("shop");
const arrived: unknown[] = [];

stock
  .route("/items/:id", ({ params, body }) => ({ id: params.id, asked: body }))
  .route("/refused", () => {
    throw new ServiceError("no such item", { status: 404, code: "NO_SUCH_ITEM", data: { id: "0" } });
  })
  .route("/reserved/:id", ({ kind, params, body }) => {
    arrived.push({ kind, id: params.id, body });
  })
  .subscribe("/orders/:id/placed", ({ kind, params, body }) => {
    arrived.push({ kind, id: params.id, body });
  });

await Promise.all([stock.connect(), shop.connect()]);
const { status, body } = await shop.call("stock", "/items/7", { of: "shop" });
const refusal: unknown = await shop.call("stock", "/refused").catch((error: unknown) => error);
await shop.publish("/orders/8/placed", { total: 12 });
await eventually(() => arrived.length === 1, "the event");
await shop.send("stock", "/reserved/9", { count: 2 });
await eventually(() => arrived.length === 2, "the one-way command");
await Promise.all([stock.shutdown(), shop.shutdown()]);

if (!(refusal instanceof RemoteError)) throw new Error("The call was not refused.", { cause: refusal });
const { code, data, message } = refusal;
const refused = { status: refusal.status, code, data, message };
console.log(JSON.stringify({ answer: { status, body }, refused, arrived }));
