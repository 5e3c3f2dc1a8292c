/** What an error was caused by: told to whoever runs the service, and kept from whoever calls it. */

import assert from "node:assert/strict";
import { ConfluoError, ServiceError } from "../../index.ts";
import { eventually } from "../eventually.ts";
import { type Bench, type Define, type LogLine, rejection } from "./suite.ts";

const inside = "connect ECONNREFUSED 10.0.0.1:443";

export const causes: Define = (it) => {
  it("writes the causes of an error, and the errors that one stands for, into its dead letter", async (bench) => {
    const client = await bench.start("worker", (service) => {
      service.route("/chained", () => {
        throw new Error("no charge", { cause: new Error(inside) });
      });
      service.route("/several", () => {
        throw new AggregateError([new Error("first address"), new Error("second address")]);
      });
    });
    await client.send("worker", "/chained");
    const chained = (await bench.takeDead("worker")).properties.headers ?? {};
    assert.equal(chained["confluo-error-message"], "no charge");
    assert.match(
      String(chained["confluo-error-stack"]),
      /^Error: no charge\n.*\ncaused by Error: connect ECON/s,
    );
    await client.send("worker", "/several");
    const several = (await bench.takeDead("worker")).properties.headers ?? {};
    assert.equal(several["confluo-error-message"], "AggregateError without a message");
    assert.match(
      String(several["confluo-error-stack"]),
      /error 1 of 2: Error: first address\n.*error 2 of 2: Error: second address\n/s,
    );
  });

  it("answers with what a handler says, never with what caused it", async (bench) => {
    const service = await bench.start("shop", (shop) => {
      shop.route("/refused", () => {
        throw new ServiceError("declined", { status: 402, code: "DECLINED", cause: new Error(inside) });
      });
      shop.route("/down", () => {
        throw new ServiceError("try later", { status: 503, cause: new Error(inside) });
      });
      shop.route("/failed", () => {
        throw new Error("no charge", { cause: new Error(inside) });
      });
      shop.route("/wordless", () => {
        throw new AggregateError([new Error(inside)]);
      });
    });
    const told = async (path: string): Promise<ConfluoError> => {
      const error = await rejection(service.call("shop", path));
      assert.ok(error instanceof ConfluoError);
      assert.ok(!JSON.stringify({ ...error, message: error.message }).includes("10.0.0.1"));
      assert.equal(error.cause, undefined);
      return error;
    };
    assert.equal((await told("/refused")).message, "declined");
    assert.equal((await told("/down")).message, "try later");
    assert.equal((await told("/failed")).message, "no charge");
    assert.equal((await told("/wordless")).message, "AggregateError without a message");
    // The service itself knows, loudly where it is its own failure.
    assert.equal(levelOf(bench, "/refused"), "debug");
    assert.equal(levelOf(bench, "/down"), "warn");
    assert.equal(levelOf(bench, "/failed"), "error");
  });

  it("says for how long a message without a handler goes round: not beyond its own time", async (bench) => {
    const client = await bench.start("worker", (service) => service.route("/other", () => 1), {
      unhandledRetryMs: 600_000,
    });
    await client.send("worker", "/nowhere", undefined, { expiresMs: 1_500 });
    const about = (): LogLine | undefined => bench.log.find(({ message }) => message.includes("goes round"));
    await eventually(() => about() !== undefined, "the line");
    const [, seconds] = /for up to ([\d.]+) s\.$/.exec(about()?.message ?? "") ?? [];
    assert.ok(Number(seconds) > 0 && Number(seconds) <= 1.5, about()?.message);
  });
};

function levelOf({ log }: Bench, path: string): LogLine["level"] | undefined {
  return log.find(({ details }) => {
    const { err, path: about } = details as { readonly err?: unknown; readonly path?: string };
    return about === path && (err as Error | undefined)?.cause !== undefined;
  })?.level;
}
