import { inspect } from "node:util";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import {
  ConfluoError,
  describeThrown,
  errorFromWire,
  errorTable,
  isConfluoError,
  RemoteError,
  refusalToWire,
  ServiceError,
  show,
  thrownToWire,
} from "./errors.ts";

describe("errors", () => {
  it("have the status of their code", () => {
    for (const [code, { status }] of Object.entries(errorTable))
      expect(new ConfluoError(code, "x").status).toBe(status);
  });

  it("are recognised by brand and code, also when another copy of the package made them", () => {
    const error = new ConfluoError("TIMEOUT", "late");
    expect(isConfluoError(error)).toBe(true);
    expect(isConfluoError(error, "TIMEOUT")).toBe(true);
    expect(isConfluoError(error, "CANCELLED")).toBe(false);
    const foreign = Object.assign(new Error("late"), {
      code: "TIMEOUT",
      [Symbol.for("confluo.error")]: "confluo",
    });
    expect(isConfluoError(foreign, "TIMEOUT")).toBe(true);
    for (const other of [null, undefined, "x", {}, new Error("x"), { code: "TIMEOUT" }])
      expect(isConfluoError(other)).toBe(false);
  });

  it("show name and code when they are printed", () => {
    expect(String(new ServiceError("no", { code: "NO_ORDER" }))).toBe("ServiceError: no");
    expect(Object.keys(new ConfluoError("TIMEOUT", "late"))).toContain("code");
  });

  it("of a service refuse statuses below 400 and codes of confluo's own", () => {
    for (const status of [200, 399, 600, 400.5, Number.NaN]) {
      expect(() => new ServiceError("x", { status })).toThrow(/400 to 599/);
    }
    for (const code of ["TIMEOUT", ""]) expect(() => new ServiceError("x", { code })).toThrow(/code/);
  });

  it("of a service refuse what is no message, no options or no advice", () => {
    const make = (...given: unknown[]) => new ServiceError(...(given as [string, object]));
    for (const given of [[Symbol("x")], [5], ["x", null], ["x", 5]])
      expect(() => make(...given)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    const longest = 30 * 24 * 60 * 60 * 1_000;
    for (const retry of [null, "soon", { afterMs: 0 }, { afterMs: "5" }, { afterMs: longest + 1 }, {}])
      expect(() => make("x", { retry })).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    expect(make("x", { retry: { afterMs: longest } }).retry).toEqual({ afterMs: longest });
  });

  it("cross the wire as they are when thrown on purpose, and as HANDLER_FAILED otherwise", () => {
    const thrown = new ServiceError("no", { status: 404, code: "GONE", data: { id: 1 } });
    expect(thrownToWire(thrown)).toEqual({
      status: 404,
      error: { code: "GONE", message: "no", data: { id: 1 } },
    });
    const remote = new RemoteError("GONE", "no", { service: "s", path: "/p", status: 404, data: "secret" });
    for (const other of [remote, new TypeError("no"), new ConfluoError("INVALID_INPUT", "no")]) {
      expect(thrownToWire(other)).toEqual({ status: 500, error: { code: "HANDLER_FAILED", message: "no" } });
    }
    expect(thrownToWire("text").error.message).toBe('"text"');
    expect(thrownToWire(undefined).error.message).toBe("undefined");
    expect(refusalToWire(new ConfluoError("NO_SUCH_ROUTE", "no"))).toEqual({
      status: 404,
      error: { code: "NO_SUCH_ROUTE", message: "no" },
    });
  });

  it("of another realm are errors, too", () => {
    const foreign = runInNewContext(`
      const error = new Error("no such order");
      Object.defineProperty(error, Symbol.for("confluo.error"), { value: "confluo" });
      Object.assign(error, { name: "ServiceError", code: "NO_SUCH_ORDER", status: 404 });
    `) as unknown;
    expect(foreign instanceof Error).toBe(false);
    const error = { code: "NO_SUCH_ORDER", message: "no such order" };
    expect(thrownToWire(foreign)).toEqual({ status: 404, error });
    expect(describeThrown(runInNewContext('new TypeError("x")'))).toMatchObject({
      name: "TypeError",
      message: "x",
    });
  });

  it("that carry no data do not say so when they are printed", () => {
    expect(inspect(new ConfluoError("TIMEOUT", "late"))).not.toContain("data");
    expect(new ConfluoError("TIMEOUT", "late").data).toBeUndefined();
  });

  it("come from the wire whatever a foreign peer wrote", () => {
    const origin = { service: "s", path: "/p", status: 418 };
    expect(errorFromWire({}, origin)).toMatchObject({
      code: "SERVICE_ERROR",
      message: "s answered with status 418",
      status: 418,
    });
    expect(errorFromWire({ code: 7, message: [] } as never, origin).code).toBe("SERVICE_ERROR");
  });

  it("show any value shortly", () => {
    expect(show("a".repeat(200)).length).toBeLessThan(110);
    expect(show(null)).toBe("null");
    expect(show([1, 2])).toBe("an array of 2");
    expect(show(new Map())).toBe("an object of type Map");
    expect(show(Object.create(null))).toBe("an object of type Object");
    expect(show(() => 1)).toBe("a function");
    expect(show(1n)).toBe("1n");
  });

  it("show no credentials of an address that came to the wrong place", () => {
    expect(show("amqp://user:p@ss/word@host/vhost")).toBe('"amqp://…@host/vhost"');
    expect(show("amqp://host")).toBe('"amqp://host"');
    expect(show("a@b://c")).toBe('"a@b://c"');
  });
});
