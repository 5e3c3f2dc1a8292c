/** Contracts at run time: what is validated, where, and what the other side sees. */

import assert from "node:assert/strict";
import { command, event, isConfluoError, RemoteError, ServiceError } from "../../index.ts";
import { schemaOf } from "../schema-of.ts";
import { type Define, rejection, signalled } from "./suite.ts";

// The wire carries text; either side may see something else.
const dateText = schemaOf<string, Date>("a date as text", (value) =>
  typeof value === "string" && !Number.isNaN(Date.parse(value)) ? { value: new Date(value) } : undefined,
);
const count = schemaOf<number, number>("a count", (value) =>
  typeof value === "number" && value >= 0 ? { value } : undefined,
);

const nextDay = command("calendar", "/next", { input: dateText, output: dateText });
const getOrder = command("orders", "/orders/:id", { output: count });
const charge = command("billing", "/charge", {
  input: count,
  errors: { CARD_DECLINED: { status: 402, data: dateText }, CLOSED: {} },
});
const orderPlaced = event("/orders/:id/placed", { body: count });

export const contracts: Define = (it) => {
  it("carries the schemas' input on both legs and transforms at the receiver", async (bench) => {
    await bench.start("calendar", (service) => {
      service.route(nextDay, ({ body }) => new Date(body.getTime() + 86_400_000).toISOString());
    });
    const caller = await bench.start("caller");
    const { body } = await caller.call(nextDay, "2030-01-31T00:00:00Z");
    assert.ok(body instanceof Date);
    assert.equal(body.toISOString(), "2030-02-01T00:00:00.000Z");
  });

  it("takes for a declared error only what the contract's own service and path answered, with data that fits", async (bench) => {
    const errors = { GONE: count };
    const cart = command("carts", "/carts/:id", { errors });
    const offer = command("offers", "/carts/:id", { errors });
    const list = command("carts", "/carts", { errors });
    await bench.start("carts", (service) => {
      service.route(cart, ({ params }) => {
        if (params.id === "7") throw cart.error("GONE", 1);
        throw new ServiceError("gone", { status: 410, code: "GONE", data: "long ago" });
      });
    });
    const caller = await bench.start("caller");
    const gone = await rejection(caller.call(cart.at({ id: 7 })));
    assert.deepEqual([cart.isError(gone), offer.isError(gone), list.isError(gone)], [true, false, false]);
    const other = await rejection(caller.call(cart.at({ id: 8 })));
    assert.ok(other instanceof RemoteError);
    assert.deepEqual([cart.isError(other), other.code, other.data], [false, "GONE", "long ago"]);
  });

  it("refuses invalid input before it is sent, with the problems in the error's data", async (bench) => {
    const caller = await bench.start("caller");
    const error = await rejection(caller.call(nextDay, "tomorrow"));
    assert.ok(isConfluoError(error, "INVALID_INPUT"), String(error));
    assert.deepEqual(error.data, { problems: [{ path: "", message: "expected a date as text" }] });
  });

  it("refuses invalid input at the receiver when the sender does not check", async (bench) => {
    let ran = false;
    await bench.start("calendar", (service) => {
      service.route(nextDay, () => {
        ran = true;
        return "2030-01-01";
      });
    });
    const caller = await bench.start("caller", undefined, { validate: "receiver" });
    const error = await rejection(caller.call(nextDay, "tomorrow"));
    assert.ok(
      error instanceof RemoteError && error.code === "INVALID_INPUT" && error.status === 400,
      String(error),
    );
    assert.deepEqual(error.data, { problems: [{ path: "", message: "expected a date as text" }] });
    assert.equal(ran, false);
  });

  it("answers INVALID_OUTPUT at once when the handler breaks its contract", async (bench) => {
    await bench.start("orders", (service) => service.route(getOrder, () => -1));
    const caller = await bench.start("caller");
    const error = await rejection(caller.call(getOrder.at({ id: 7 })));
    assert.ok(isConfluoError(error, "INVALID_OUTPUT"), String(error));
  });

  it("addresses a path with parameters by at()", async (bench) => {
    await bench.start("orders", (service) => service.route(getOrder, ({ params }) => Number(params.id)));
    const caller = await bench.start("caller");
    assert.equal((await caller.call(getOrder.at({ id: 7 }))).body, 7);
    // @ts-expect-error: the compiler says so, too
    const unbound = await rejection(caller.call(getOrder));
    assert.ok(
      isConfluoError(unbound, "INVALID_ARGUMENT") && unbound.message.includes(".at("),
      String(unbound),
    );
  });

  it("brings declared errors to the caller, their data transformed", async (bench) => {
    await bench.start("billing", (service) => {
      service.route(charge, () => {
        throw charge.error("CARD_DECLINED", "2030-01-01T00:00:00Z");
      });
    });
    const caller = await bench.start("caller");
    const error = await rejection(caller.call(charge, 5));
    assert.ok(charge.isError(error));
    assert.equal(error.code, "CARD_DECLINED");
    assert.equal(error.status, 402);
    assert.ok(error.code === "CARD_DECLINED" && error.data instanceof Date);
  });

  it("validates events on both sides and binds their parameters", async (bench) => {
    const got = signalled<unknown>();
    await bench.start("mail", (service) =>
      service.subscribe(orderPlaced, ({ params, body }) => got.resolve([params.id, body])),
    );
    const shop = await bench.start("shop");
    await shop.publish(orderPlaced.at({ id: "7" }), 3);
    assert.deepEqual(await got.promise, ["7", 3]);
    assert.ok(isConfluoError(await rejection(shop.publish(orderPlaced.at({ id: 7 }), -1)), "INVALID_INPUT"));
    await shop.publish("/orders/8/placed", -1);
    const { properties } = await bench.takeDead("mail");
    assert.equal(properties.headers?.["confluo-error"], "INVALID_INPUT");
  });

  it("refuses to route another service's command", async (bench) => {
    const service = bench.create("orders");
    assert.throws(() => service.route(charge, () => undefined), { code: "INVALID_ARGUMENT" });
  });

  it("takes a contract as plain data", async (bench) => {
    const { kind, service: name, path, input, output } = nextDay;
    const plain = { kind, service: name, path, input, output } as const;
    await bench.start("calendar", (service) => service.route(plain, () => "2030-01-01"));
    const caller = await bench.start("caller");
    assert.equal((await caller.call(plain, "2029-01-01")).body.getUTCFullYear(), 2030);
  });
};
