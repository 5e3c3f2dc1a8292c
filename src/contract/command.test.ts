import { type } from "arktype";
import * as v from "valibot";
import { describe, expect, it } from "vitest";
import * as z from "zod";
import { checkCommand, command } from "./command.ts";

const input = z.object({ amount: z.number() });
const output = v.object({ receipt: v.string() });
const declined = type({ reason: "string" });

const invalid = expect.objectContaining({ code: "INVALID_ARGUMENT" });

describe("command", () => {
  it("makes a frozen plain value", () => {
    const charge = command("billing", "/charge", { input, output, errors: { DECLINED: declined } });
    expect(charge).toMatchObject({ kind: "command", service: "billing", path: "/charge", input, output });
    expect(charge.errors).toEqual({ DECLINED: declined });
    expect(Object.isFrozen(charge)).toBe(true);
    expect(Object.isFrozen(charge.errors)).toBe(true);
    expect(Object.getPrototypeOf(charge)).toBe(Object.prototype);
  });

  it("needs nothing but a service and a path", () => {
    expect(command("billing", "ping")).toMatchObject({
      kind: "command",
      service: "billing",
      path: "ping",
      input: undefined,
      output: undefined,
      errors: {},
    });
  });

  it("has methods that need no receiver", () => {
    const { at, error, isError } = command("orders", "/orders/:id", { errors: { GONE: {} } });
    expect(at({ id: 7 }).path).toBe("/orders/7");
    expect(isError(error("GONE"))).toBe(true);
  });

  it.each([
    ["an empty service", "", "/charge", {}],
    ["a service that is no string", 7, "/charge", {}],
    ["an empty path", "billing", "", {}],
    ["a query in the path", "billing", "/charge?now", {}],
    ["a parameter twice", "billing", "/:id/:id", {}],
    ["an input that is no schema", "billing", "/charge", { input: { amount: "number" } }],
    ["an output that is no schema", "billing", "/charge", { output: null }],
    ["errors that are no object", "billing", "/charge", { errors: "DECLINED" }],
    ["an error that is no declaration", "billing", "/charge", { errors: { DECLINED: 402 } }],
    ["an error with a field it does not have", "billing", "/charge", { errors: { DECLINED: { stauts: 1 } } }],
    ["an error with a status below 400", "billing", "/charge", { errors: { DECLINED: { status: 200 } } }],
    ["an error with a status above 599", "billing", "/charge", { errors: { DECLINED: { status: 600 } } }],
    ["an error with data that is no schema", "billing", "/charge", { errors: { DECLINED: { data: {} } } }],
    [
      "an error that is a broken schema",
      "billing",
      "/charge",
      { errors: { A: { "~standard": { version: 2 } } } },
    ],
    ["a definition that is null", "billing", "/charge", null],
    ["errors that are null", "billing", "/charge", { errors: null }],
    ["an error without a code", "billing", "/charge", { errors: { "": {} } }],
    ["an error with a code of confluo's own", "billing", "/charge", { errors: { TIMEOUT: {} } }],
    ["an error with confluo's default code", "billing", "/charge", { errors: { SERVICE_ERROR: {} } }],
  ])("refuses %s", (_what, service, path, definition) => {
    expect(() => command(service as string, path, definition as object)).toThrow(invalid);
  });
});

describe("at", () => {
  const getOrder = command("orders", "/orders/:id", { output, errors: { GONE: { status: 410 } } });

  it("gives the same command with a concrete path", () => {
    const bound = getOrder.at({ id: 7 });
    expect(bound).toMatchObject({
      kind: "command",
      service: "orders",
      path: "/orders/7",
      pattern: "/orders/:id",
      input: undefined,
      output,
      errors: getOrder.errors,
    });
    expect(Object.isFrozen(bound)).toBe(true);
    expect(bound.isError(bound.error("GONE"))).toBe(true);
  });

  it("leaves the command as it was", () => {
    getOrder.at({ id: 7 });
    expect(getOrder.path).toBe("/orders/:id");
    expect(getOrder).not.toHaveProperty("pattern");
  });

  it("refuses a value that would change the shape of the path", () => {
    expect(() => getOrder.at({ id: "7/lines" })).toThrow(invalid);
  });
});

describe("checkCommand", () => {
  it("accepts contracts, addressed or not, and plain data", () => {
    const getOrder = command("orders", "/orders/:id");
    for (const value of [
      getOrder,
      getOrder.at({ id: ":-)" }),
      { kind: "command", service: "a", path: "/b" },
    ]) {
      expect(() => checkCommand(value)).not.toThrow();
    }
  });

  it.each([
    undefined,
    null,
    "/charge",
    {},
    { kind: "event", path: "/a" },
    { kind: "command", service: "a" },
    { kind: "command", path: "/a" },
    { kind: "command", service: "a", path: "/a", input: {} },
    { kind: "command", service: "a", path: 5 },
    { kind: "command", service: "a", path: "/a", errors: null },
    { kind: "command", service: "a", path: "/a", errors: { TIMEOUT: {} } },
  ])("refuses %j", (value) => {
    expect(() => checkCommand(value)).toThrow(invalid);
  });
});
