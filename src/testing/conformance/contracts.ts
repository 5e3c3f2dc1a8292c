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

// It takes what has an id, and gives that alone.
const withId = schemaOf<{ readonly id: string }, { readonly id: string }>("something with an id", (value) =>
  typeof value === "object" && value !== null && "id" in value && typeof value.id === "string"
    ? { value: { id: value.id } }
    : undefined,
);
const date = schemaOf<Date, Date>("a date", (value) => (value instanceof Date ? { value } : undefined));
const row = { id: "1", passwordHash: "secret" };

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

  it("sends no field of an answer or of a declared error that the contract does not declare", async (bench) => {
    const me = command("users", "/me", { output: withId });
    const made = command("users", "/made", { output: withId });
    const gone = command("users", "/gone", { errors: { GONE: withId } });
    await bench.start("users", (service) => {
      service.route(me, () => row);
      service.route(made, ({ reply }) => reply({ ...row }, { status: 201, headers: { a: "1" } }));
      service.route(gone, () => {
        throw gone.error("GONE", row);
      });
    });
    const caller = await bench.start("caller"); // by names, so it sees what travels
    assert.deepEqual((await caller.call("users", "/me")).body, { id: "1" });
    assert.deepEqual(await caller.call("users", "/made"), {
      status: 201,
      headers: { a: "1" },
      body: { id: "1" },
    });
    const error = await rejection(caller.call("users", "/gone"));
    assert.ok(isConfluoError(error, undefined) && error.status === 422, String(error));
    assert.deepEqual(error.data, { id: "1" });
  });

  it("sends no field of an input or an event that the contract does not declare", async (bench) => {
    const got: unknown[] = [];
    const both = signalled();
    const take = ({ body }: { readonly body: unknown }): void => {
      if (got.push(body) === 3) both.resolve();
    };
    await bench.start("sink", (service) => service.route("/put", take).subscribe("/put", take));
    const sender = await bench.start("sender");
    const put = command("sink", "/put", { input: withId });
    await sender.call(put, row);
    await sender.send(put, row);
    await sender.publish(event("/put", { body: withId }), row);
    await both.promise;
    assert.deepEqual(got, [{ id: "1" }, { id: "1" }, { id: "1" }]);
  });

  it("sends what has no contract as it is", async (bench) => {
    await bench.start("users", (service) => service.route("/me", () => row));
    const caller = await bench.start("caller");
    assert.deepEqual((await caller.call("users", "/me")).body, row);
  });

  it("checks what will be read, not what was passed: a date is text by then", async (bench) => {
    let ran = false;
    const run = (): void => {
      ran = true;
    };
    const put = command("store", "/put", { input: date });
    const get = command("store", "/get", { output: date });
    const kept = event("/kept", { body: date });
    await bench.start("store", (service) =>
      service
        .route(put, run)
        .route(get, () => new Date(0))
        .subscribe(kept, run),
    );
    const caller = await bench.start("caller");
    const refusals = [
      caller.call(put, new Date(0)),
      caller.send(put, new Date(0)),
      caller.publish(kept, new Date(0)),
    ];
    for (const refused of await Promise.all(refusals.map(rejection))) {
      assert.ok(isConfluoError(refused, "INVALID_INPUT") && refused.name === "ConfluoError", String(refused));
      assert.match(refused.message, /expected a date.*before it became JSON/);
    }
    const answered = await rejection(caller.call(get));
    assert.ok(answered instanceof RemoteError && answered.code === "INVALID_OUTPUT", String(answered));
    assert.equal(ran, false);
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
