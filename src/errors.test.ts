import { inspect } from "node:util";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { storyOf } from "./causes.ts";
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
    for (const code of ["TIMEOUT", "NO_STREAMS", ""])
      expect(() => new ServiceError("x", { code })).toThrow(/code/);
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
    expect(refusalToWire(new ConfluoError("NO_SUCH_ROUTE", "no"))).toEqual({
      status: 404,
      error: { code: "NO_SUCH_ROUTE", message: "no" },
    });
  });

  it("of another realm are errors, too", () => {
    const foreign = runInNewContext(`
      const error = new Error("no such order");
      Object.defineProperty(error, Symbol.for("confluo.error"), { value: "confluo" });
      Object.defineProperty(error, Symbol.for("confluo.error.kind"), { value: "service" });
      Object.assign(error, { name: "Refusal", code: "NO_SUCH_ORDER", status: 404 });
    `) as unknown;
    expect(foreign instanceof Error).toBe(false);
    const error = { code: "NO_SUCH_ORDER", message: "no such order" };
    expect(thrownToWire(foreign)).toEqual({ status: 404, error });
    expect(describeThrown(runInNewContext('new TypeError("x")'))).toMatchObject({
      name: "TypeError",
      message: "x",
    });
  });

  describe("of a subclass", () => {
    const options = { status: 404, code: "NO_SUCH_ORDER", data: { id: 7 }, retry: "never" } as const;
    class Assigned extends ServiceError {
      constructor() {
        super("no such order", options);
        this.name = "Assigned";
      }
    }
    class Field extends ServiceError {
      override name = "Field";
    }
    class Getter extends ServiceError {
      override get name(): string {
        return "Getter";
      }
      override get message(): string {
        return "no such order";
      }
    }
    class Misleading extends ServiceError {
      override name = "RemoteError";
    }

    it.each([
      new Assigned(),
      new Field("no such order", options),
      new Getter("", options),
      new Misleading("no such order", options),
      Object.freeze(new Field("no such order", options)),
    ])("cross the wire as the refusal that they are, whatever their name: $name", (thrown) => {
      const { status, code, data } = options;
      expect(thrownToWire(thrown)).toEqual({ status, error: { code, message: "no such order", data } });
      expect(describeThrown(thrown).ours).toMatchObject({ kind: "service", retry: "never" });
      expect(storyOf(thrown)).toMatchObject({ code, name: thrown.name });
      expect(isConfluoError(thrown)).toBe(true);
    });

    it("are none by their name alone", () => {
      class Own extends ConfluoError {
        override name = "ServiceError";
      }
      class Remote extends RemoteError {
        override name = "ServiceError";
      }
      const origin = { service: "s", path: "/p", status: 404 };
      const remote = new Remote("GONE", "no", origin);
      const plain = Object.assign(new Error("no"), { name: "ServiceError", status: 404, code: "GONE" });
      for (const thrown of [new Own("TIMEOUT", "no"), remote, plain])
        expect(thrownToWire(thrown)).toEqual({
          status: 500,
          error: { code: "HANDLER_FAILED", message: "no" },
        });
      expect(storyOf(remote).code).toBe("HANDLER_FAILED");
    });

    it("cannot pass for a failure of confluo's own", () => {
      class Late extends ServiceError {
        override readonly code = "TIMEOUT";
        override readonly status = 200;
      }
      expect(thrownToWire(new Late("late"))).toEqual({
        status: 500,
        error: { code: "SERVICE_ERROR", message: "late" },
      });
    });

    it("show their own name when they are printed, and the class's until they have one", () => {
      class Nameless extends ServiceError {}
      expect(String(new Nameless("no"))).toBe("ServiceError: no");
      expect(String(new Assigned())).toBe("Assigned: no such order");
      expect(inspect(new Nameless("no"))).not.toContain("name:");
    });

    it("keep what can be read of them when something cannot", () => {
      const hostile = (field: string): ServiceError =>
        Object.defineProperty(new ServiceError("no", options), field, {
          get: () => {
            throw new Error("hostile");
          },
        });
      const { status, code, data } = options;
      for (const field of ["name", "stack", "retry"])
        expect(thrownToWire(hostile(field))).toEqual({ status, error: { code, message: "no", data } });
      expect(thrownToWire(hostile("data"))).toEqual({ status, error: { code, message: "no" } });
      expect(thrownToWire(hostile("message"))).toMatchObject({ status, error: { code, data } });
      expect(isConfluoError(hostile("code"), "TIMEOUT")).toBe(false);
    });
  });

  it("that are none keep their message, and choose no status", () => {
    const client = (thrown: unknown) => {
      const { status, error } = thrownToWire(thrown);
      return status === 500 && error.code === "HANDLER_FAILED" && !("data" in error) && error.message;
    };
    expect(client({ message: "no such order", status: 404 })).toBe("no such order");
    expect(client({ message: "no such order", statusCode: 404, cause: new Error("secret") })).toBe(
      "no such order",
    );
    expect(client(Object.assign(new Error("no such page"), { status: 404 }))).toBe("no such page");
    expect(client({ message: ["id must be a number", "name is too short"], error: "Bad Request" })).toBe(
      "id must be a number; name is too short",
    );
    expect(client("no such order".repeat(20))).toBe("no such order".repeat(20));
    expect([undefined, null, 7, ""].map(client)).toEqual([
      "undefined was thrown",
      "null was thrown",
      "7 was thrown",
      '"" was thrown',
    ]);
    expect(client({ status: 404 })).toBe("an object of type Object was thrown");
    expect(client({ message: { text: "no" } })).toBe("an object of type Object was thrown");
    expect(describeThrown({ name: "NotFound", message: "no" })).toMatchObject({
      name: "NotFound",
      stack: "",
    });
  });

  it("are looked at without harm, also where a look throws", () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    expect(thrownToWire(proxy).error.message).toBe("something that cannot be described was thrown");
    expect(isConfluoError(proxy)).toBe(false);
    const trap = () => {
      throw new Error("hostile");
    };
    const hostile = new Proxy(new ServiceError("no"), { get: trap, getPrototypeOf: trap });
    expect(isConfluoError(hostile, "TIMEOUT")).toBe(false);
    expect(thrownToWire(hostile).status).toBe(500);
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
