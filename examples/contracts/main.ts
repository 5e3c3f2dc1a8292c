/** Two services that know each other only by their contract: types on both sides, no code generation. */

import { isConfluoError, Service } from "confluo";
import { charge, orderPaid } from "./shop-contract.ts";

const billing = new Service("billing");
billing.route(charge, async ({ body }) => {
  if (body.amount > 100) throw charge.error("CARD_DECLINED", { reason: "limit exceeded" });
  await billing.publish(orderPaid.at({ id: body.order }), { amount: body.amount });
  return { receipt: `R-${body.order}`, at: "2030-01-02T03:04:05Z" };
});

const shop = new Service("shop");
const paid = new Promise<void>((resolve) => {
  shop.subscribe(orderPaid, ({ params, body }) => {
    console.log(`order ${params.id} was paid: ${body.amount}`);
    resolve();
  });
});

await Promise.all([billing.connect(), shop.connect()]);

const { body } = await shop.call(charge, { order: "o-1", amount: 12 });
await paid;
console.log(`receipt ${body.receipt} of ${body.at.getUTCFullYear()}`);

try {
  await shop.call(charge, { order: "o-2", amount: 1_000 });
} catch (error) {
  if (!charge.isError(error)) throw error;
  switch (error.code) {
    case "CARD_DECLINED":
      console.log(`declined with ${error.status}: ${error.data.reason}`);
  }
}

try {
  await shop.call(charge, { order: "o-3", amount: -1 });
} catch (error) {
  if (!isConfluoError(error, "INVALID_INPUT")) throw error;
  const { problems } = error.data as { readonly problems: readonly { readonly path: string }[] };
  console.log(`refused before it was sent: ${problems.map(({ path }) => path).join(", ")}`);
}

await Promise.all([billing.shutdown(), shop.shutdown()]);
