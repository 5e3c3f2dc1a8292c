import { type } from "arktype";
import * as v from "valibot";
import { describe, expect, it } from "vitest";
import * as z from "zod";
import { ConfluoError, errorFromWire, ServiceError, thrownToWire } from "../errors.ts";
import { command } from "./command.ts";
import { parseErrorData } from "./declared-errors.ts";

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

  it("is false for every error of a contract that declares none", () => {
    expect(command("billing", "/ping").isError(charge.error("CLOSED"))).toBe(false);
  });
});

describe("parseErrorData", () => {
  it("transforms the data by the declared schema", async () => {
    expect(await parseErrorData(charge, "LATER", { at: "2030-01-01T00:00:00Z" })).toEqual({
      at: new Date("2030-01-01T00:00:00Z"),
    });
    expect(await parseErrorData(charge, "LIMIT", { left: 1, right: 2 })).toEqual({ left: 1 });
  });

  it("waits for a schema that takes its time", async () => {
    const slow = v.pipeAsync(
      v.string(),
      v.transformAsync(async (text) => text.length),
    );
    expect(await parseErrorData({ errors: { SLOW: slow } }, "SLOW", "four")).toBe(4);
  });

  it("keeps data that does not satisfy the schema", async () => {
    expect(await parseErrorData(charge, "LATER", { at: 5 })).toEqual({ at: 5 });
    expect(await parseErrorData(charge, "LATER", undefined)).toBeUndefined();
  });

  it("keeps data for which nothing is declared", async () => {
    const data = { any: "thing" };
    for (const code of ["CLOSED", "OTHER", "toString"]) {
      expect(await parseErrorData(charge, code, data)).toBe(data);
    }
    expect(await parseErrorData({}, "CLOSED", data)).toBe(data);
  });

  it("keeps the data if the declaration is broken", async () => {
    const broken = { NULL: null, DATA: { data: "string" } } as never;
    expect(await parseErrorData({ errors: broken }, "NULL", 1)).toBe(1);
    expect(await parseErrorData({ errors: broken }, "DATA", 1)).toBe(1);
  });
});
