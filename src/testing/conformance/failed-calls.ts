/** Calls that fail, from the caller's chair. */

import assert from "node:assert/strict";
import { isConfluoError, RemoteError, ServiceError } from "../../index.ts";
import { type Define, rejection } from "./suite.ts";

export const failedCalls: Define = (it) => {
  it("rejects with NO_SUCH_SERVICE long before its deadline when nobody is there", async (bench) => {
    const caller = await bench.start("caller");
    const error = await rejection(caller.call("nobody", "/x", undefined, { timeoutMs: 15_000 }));
    assert.ok(isConfluoError(error, "NO_SUCH_SERVICE"), String(error));
  });

  it("rejects with NO_SUCH_ROUTE for a path without a handler", async (bench) => {
    await bench.start("answerer", (service) => service.route("/known", () => 1));
    const caller = await bench.start("caller");
    const error = await rejection(caller.call("answerer", "/unknown"));
    assert.ok(isConfluoError(error, "NO_SUCH_ROUTE") && error.status === 404, String(error));
  });

  it("brings a ServiceError to the caller as it is", async (bench) => {
    await bench.start("answerer", (service) => {
      service.route("/orders/:id", ({ params }) => {
        throw new ServiceError("no such order", {
          status: 404,
          code: "NO_SUCH_ORDER",
          data: { id: params.id },
        });
      });
    });
    const caller = await bench.start("caller");
    const error = await rejection(caller.call("answerer", "/orders/9"));
    assert.ok(error instanceof RemoteError);
    const { message, status, code, data, service, path } = error;
    assert.deepEqual(
      { message, status, code, data, service, path },
      {
        message: "no such order",
        status: 404,
        code: "NO_SUCH_ORDER",
        data: { id: "9" },
        service: "answerer",
        path: "/orders/9",
      },
    );
  });

  it("brings a refusal as it is, whatever its class is called", async (bench) => {
    class NoSuchOrder extends ServiceError {
      override name = "NoSuchOrder";
    }
    class Gone extends ServiceError {
      constructor() {
        super("gone", { status: 410, code: "GONE", retry: "never" });
        this.name = "RemoteError";
        Object.freeze(this);
      }
    }
    await bench.start("refusing", (service) => {
      service.route("/orders", () => {
        throw new NoSuchOrder("no such order", { status: 404, code: "NO_SUCH_ORDER", data: [7] });
      });
      service.route("/gone", () => {
        throw new Gone();
      });
    });
    const caller = await bench.start("caller");
    const found = await rejection(caller.call("refusing", "/orders"));
    assert.ok(found instanceof RemoteError);
    const { message, status, code, data } = found;
    assert.deepEqual([message, status, code, data], ["no such order", 404, "NO_SUCH_ORDER", [7]]);
    const gone = await rejection(caller.call("refusing", "/gone"));
    assert.ok(isConfluoError(gone) && gone.code === "GONE" && gone.status === 410, String(gone));
    await caller.send("refusing", "/gone");
    const { headers } = (await bench.takeDead("refusing")).properties;
    assert.deepEqual([headers?.["confluo-error"], headers?.["confluo-error-name"]], ["GONE", "RemoteError"]);
  });

  it("keeps the message of what is thrown without being an error, and none of its status", async (bench) => {
    const thrown: readonly unknown[] = [{ message: "no such order", status: 404 }, "no such order"];
    await bench.start("thrower", (service) => {
      service.route("/:n", ({ params }) => {
        throw thrown[Number(params.n)];
      });
    });
    const caller = await bench.start("caller");
    for (const n of thrown.keys()) {
      const error = await rejection(caller.call("thrower", `/${n}`));
      assert.ok(isConfluoError(error, "HANDLER_FAILED") && error.status === 500, String(error));
      assert.equal(error.message, "no such order");
    }
  });

  it("turns any other error into a 500 at once, without its stack", async (bench) => {
    await bench.start("answerer", (service) => {
      service.route("/broken", () => {
        throw new TypeError("x is not a function");
      });
    });
    const caller = await bench.start("caller");
    const error = await rejection(caller.call("answerer", "/broken"));
    assert.ok(
      error instanceof RemoteError && error.code === "HANDLER_FAILED" && error.status === 500,
      String(error),
    );
    assert.equal(error.message, "x is not a function");
    assert.equal(error.data, undefined);
  });

  it("answers at once whatever is thrown, be it hostile", async (bench) => {
    const trap = (): never => {
      throw new Error("trap");
    };
    const hostile: unknown[] = [undefined, null, 7n, Symbol("s"), Object.freeze({}), "x".repeat(3_000_000)];
    hostile.push(Object.defineProperty(new Error("m"), "message", { get: trap }));
    hostile.push(new Proxy(new Error("p"), { get: trap, getPrototypeOf: trap, has: trap }));
    hostile.push(Object.assign(new Error("n"), { message: {}, stack: [], name: 3 }));
    await bench.start("thrower", (service) => {
      service.route("/:n", ({ params }) => {
        throw hostile[Number(params.n)];
      });
    });
    const caller = await bench.start("caller");
    for (const n of hostile.keys()) {
      const error = await rejection(caller.call("thrower", `/${n}`));
      assert.ok(isConfluoError(error, "HANDLER_FAILED"), `${n}: ${error}`);
      await caller.send("thrower", `/${n}`);
      assert.equal((await bench.takeDead("thrower")).properties.headers?.["confluo-error"], "HANDLER_FAILED");
    }
  });

  it("makes the error of a nested call a 500 of the service in between", async (bench) => {
    await bench.start("inner", (service) => {
      service.route("/", () => {
        throw new ServiceError("inner secret", { status: 403, code: "INNER" });
      });
    });
    await bench.start("outer", (service) => service.route("/", () => service.call("inner", "/")));
    const caller = await bench.start("caller");
    const error = await rejection(caller.call("outer", "/"));
    assert.ok(isConfluoError(error, "HANDLER_FAILED"), String(error));
  });

  it("rejects a reply with a status of 400 or more", async (bench) => {
    await bench.start("answerer", (service) =>
      service.route("/", ({ reply }) => reply({ why: "no" }, { status: 409 })),
    );
    const caller = await bench.start("caller");
    const error = await rejection(caller.call("answerer", "/"));
    assert.ok(error instanceof RemoteError && error.status === 409, String(error));
    assert.deepEqual(error.data, { why: "no" });
  });
};
