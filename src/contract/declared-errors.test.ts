import { type } from "arktype";
import * as v from "valibot";
import { describe, expect, it } from "vitest";
import * as z from "zod";
import { ConfluoError, errorFromWire, ServiceError, thrownToWire } from "../errors.ts";
import { command } from "./command.ts";
import { declaredError } from "./declared-errors.ts";

const charge = command("billing", "/charge", {
  errors: {
    CARD_DECLINED: { status: 402, data: z.object({ reason: z.string() }) },
    LIMIT: v.object({ left: v.number() }),
    LATER: { data: type({ at: "string.date.parse" }) },
    CLOSED: {},
  },
});

const origin = { service: "billing", path: "/charge", status: 402 };

describe("error", () => {
  it("makes a ServiceError that reaches the caller as it is", () => {
    const error = charge.error("CARD_DECLINED", { reason: "expired" }, "card expired");
    expect(error).toBeInstanceOf(ServiceError);
    expect(thrownToWire(error)).toEqual({
      status: 402,
      error: { code: "CARD_DECLINED", message: "card expired", data: { reason: "expired" } },
    });
  });

  it("has status 422 unless declared otherwise", () => {
    expect(charge.error("LIMIT", { left: 0 }).status).toBe(422);
    expect(charge.error("CLOSED").status).toBe(422);
  });

  it("has a message that names code and contract unless given one", () => {
    expect(charge.error("CLOSED").message).toBe("/charge of billing refused with CLOSED");
    expect(charge.error("CLOSED", undefined, "come back tomorrow").message).toBe("come back tomorrow");
  });

  it.each(["OTHER", "toString", "TIMEOUT"])("refuses the undeclared code %s", (code) => {
    expect(() => charge.error(code as "CLOSED")).toThrow(
      expect.objectContaining({
        code: "INVALID_ARGUMENT",
        message: expect.stringContaining("one that /charge of billing declares"),
      }),
    );
  });
});

describe("isError", () => {
  it("knows the error as it was thrown", () => {
    expect(charge.isError(charge.error("CLOSED"))).toBe(true);
  });

  it("knows the error as it reached the caller", () => {
    const { error } = thrownToWire(charge.error("CARD_DECLINED", { reason: "expired" }));
    const caught: unknown = errorFromWire(error, origin);
    expect(charge.isError(caught) && caught.code === "CARD_DECLINED" && caught.data.reason).toBe("expired");
  });

  it("knows the error of another copy of the package", () => {
    const foreign = Object.assign(new Error("closed"), {
      code: "CLOSED",
      [Symbol.for("confluo.error")]: "confluo",
    });
    expect(charge.isError(foreign)).toBe(true);
  });

  it.each([
    undefined,
    null,
    "CLOSED",
    { code: "CLOSED" },
    Object.assign(new Error("closed"), { code: "CLOSED" }),
    new ConfluoError("TIMEOUT", "too late"),
    new ServiceError("other", { code: "OTHER" }),
    new ServiceError("inherited", { code: "toString" }),
  ])("does not take %s for one", (error) => {
    expect(charge.isError(error)).toBe(false);
  });

  it("knows an answered error by its service and path, too", () => {
    const orders = { GONE: z.object({ at: z.string() }) };
    const getOrder = command("orders", "/orders/:id", { errors: orders });
    const answered = (service: string, path: string) =>
      errorFromWire({ code: "GONE", message: "gone", data: { at: "noon" } }, { service, path, status: 410 });
    expect(getOrder.isError(answered("orders", "/orders/7"))).toBe(true);
    expect(getOrder.at({ id: 8 }).isError(answered("orders", "/orders/7"))).toBe(true);
    expect(command("orders", "orders/:id", { errors: orders }).isError(answered("orders", "/orders/7"))).toBe(
      true,
    );
    for (const other of [
      answered("offers", "/orders/7"),
      answered("orders", "/offers/7"),
      answered("orders", "/orders"),
      answered("orders", "/orders/"),
      answered("orders", "/orders/7/lines"),
    ]) {
      expect(getOrder.isError(other)).toBe(false);
    }
  });

  it("is false for every error of a contract that declares none", () => {
    expect(command("billing", "/ping").isError(charge.error("CLOSED"))).toBe(false);
  });
});

describe("declaredError", () => {
  const received = (code: string, data?: unknown) => errorFromWire({ code, message: code, data }, origin);

  it("transforms the data by the declared schema", async () => {
    const later = await declaredError(charge, received("LATER", { at: "2030-01-01T00:00:00Z" }));
    expect(later).toMatchObject({ ...origin, code: "LATER", data: { at: new Date("2030-01-01T00:00:00Z") } });
    expect(charge.isError(later)).toBe(true);
    const limit = await declaredError(charge, received("LIMIT", { left: 1, right: 2 }));
    expect(limit.data).toEqual({ left: 1 });
  });

  it("waits for a schema that takes its time", async () => {
    const slow = v.pipeAsync(
      v.string(),
      v.transformAsync(async (text) => text.length),
    );
    expect((await declaredError({ errors: { SLOW: slow } }, received("SLOW", "four"))).data).toBe(4);
  });

  it.each([[{ at: 5 }], [undefined]])(
    "is no error of the contract with the data %j, which stays",
    async (data) => {
      const error = await declaredError(charge, received("LATER", data));
      expect(error).toMatchObject({ ...origin, code: "LATER", message: "LATER" });
      expect(error.data).toEqual(data);
      expect(charge.isError(error)).toBe(false);
      expect(Object.keys(error)).toEqual(Object.keys(received("LATER", data)));
    },
  );

  it("leaves an error as it came for whose data nothing is declared", async () => {
    for (const code of ["CLOSED", "OTHER", "toString"]) {
      const error = received(code, { any: "thing" });
      expect(await declaredError(charge, error)).toBe(error);
      expect(charge.isError(error)).toBe(code === "CLOSED");
    }
    const error = received("CLOSED");
    expect(await declaredError({}, error)).toBe(error);
  });

  it("keeps the data if the declaration is broken", async () => {
    const broken = { NULL: null, DATA: { data: "string" } } as never;
    expect((await declaredError({ errors: broken }, received("NULL", 1))).data).toBe(1);
    expect((await declaredError({ errors: broken }, received("DATA", 1))).data).toBe(1);
  });
});
