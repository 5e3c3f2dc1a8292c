/** Tests as users write them for Jest: of services on an embedded broker. */

import { Broker, Service, ServiceError } from "confluo";
import { command } from "confluo/contract";
import { eventually } from "confluo/testing";

const getOrder = command("orders", "/orders/:id");

async function withServices(work) {
  const broker = new Broker("memory:");
  const orders = new Service("orders", { broker });
  const shop = new Service("shop", { broker });
  orders.route(getOrder, ({ params }) => {
    if (params.id === "0") throw new ServiceError("no such order", { status: 404, code: "NO_SUCH_ORDER" });
    return params;
  });
  const paid = [];
  shop.subscribe("/orders/:id/paid", ({ params }) => void paid.push(params.id));
  await Promise.all([orders.connect(), shop.connect()]);
  try {
    await work({ orders, shop, paid });
  } finally {
    await Promise.all([orders.shutdown(), shop.shutdown()]);
  }
}

test("answers a call", () =>
  withServices(async ({ shop }) => {
    expect((await shop.call(getOrder.at({ id: "7" }))).body).toEqual({ id: "7" });
  }));

test("refuses an order that does not exist", () =>
  withServices(async ({ shop }) => {
    const refusal = { code: "NO_SUCH_ORDER", status: 404 };
    await expect(shop.call(getOrder.at({ id: "0" }))).rejects.toMatchObject(refusal);
  }));

test("tells that an order was paid", () =>
  withServices(async ({ orders, paid }) => {
    await orders.publish("/orders/7/paid");
    await eventually(() => paid.length > 0, "the order to be paid");
    expect(paid).toEqual(["7"]);
  }));
