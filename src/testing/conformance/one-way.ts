/** One-way commands: durable, and either handled or in the dead-letter queue. */

import assert from "node:assert/strict";
import { isConfluoError } from "../../index.ts";
import { eventually } from "../eventually.ts";
import { type Define, rejection, signalled } from "./suite.ts";

export const oneWay: Define = (it) => {
  it("delivers a one-way command to one instance and resolves on the confirm", async (bench) => {
    const got: unknown[] = [];
    for (const _ of [0, 1]) {
      await bench.start("worker", (service) =>
        service.route("/jobs/:id", ({ kind, params, body }) => void got.push([kind, params.id, body])),
      );
    }
    const manager = await bench.start("manager");
    await manager.send("worker", "/jobs/1", { do: "it" });
    await eventually(() => got.length === 1, "the job");
    assert.deepEqual(got, [["send", "1", { do: "it" }]]);
  });

  it("keeps one-way commands for a service that is not running now", async (bench) => {
    const first = await bench.start("worker", (service) => service.route("/job", () => undefined));
    await first.shutdown();
    const manager = await bench.start("manager");
    await manager.send("worker", "/job", 1);
    const got = signalled<unknown>();
    await bench.start("worker", (service) => service.route("/job", ({ body }) => got.resolve(body)));
    assert.equal(await got.promise, 1);
  });

  it("rejects with NO_SUCH_SERVICE when no such service ever ran", async (bench) => {
    const manager = await bench.start("manager");
    const error = await rejection(manager.send("nobody", "/job"));
    assert.ok(isConfluoError(error, "NO_SUCH_SERVICE"), String(error));
  });

  it("sends a failed one-way command to the dead-letter queue with its story", async (bench) => {
    await bench.start("worker", (service) => {
      service.route("/job", () => {
        throw new RangeError("too far");
      });
    });
    const manager = await bench.start("manager");
    await manager.send("worker", "/job?x=1", { a: 1 }, { messageId: "m-1", headers: { trace: "t" } });
    const { body, properties } = await bench.takeDead("worker");
    const headers = properties.headers ?? {};
    assert.equal(new TextDecoder().decode(body), '{"a":1}');
    assert.equal(properties.messageId, "m-1");
    assert.equal(headers.trace, "t");
    assert.equal(headers["confluo-kind"], "send");
    assert.equal(headers["confluo-path"], "/job");
    assert.equal(headers["confluo-query"], "x=1");
    assert.equal(headers["confluo-from"], "manager");
    assert.equal(headers["confluo-error"], "HANDLER_FAILED");
    assert.equal(headers["confluo-error-name"], "RangeError");
    assert.equal(headers["confluo-error-message"], "too far");
    assert.match(String(headers["confluo-error-stack"]), /RangeError: too far\n/);
    assert.equal(headers["confluo-queue"], bench.queue("worker", "inbox"));
    assert.ok(!Number.isNaN(Date.parse(String(headers["confluo-failed-at"]))));
    await eventually(async () => (await bench.depth("worker", "inbox")) === 0, "an empty inbox");
  });

  it("counts a reply with a status of 400 or more as failed", async (bench) => {
    await bench.start("worker", (service) =>
      service.route("/job", ({ reply }) => reply("no", { status: 503 })),
    );
    await (await bench.start("manager")).send("worker", "/job");
    const { properties } = await bench.takeDead("worker");
    assert.equal(properties.headers?.["confluo-error"], "SERVICE_ERROR");
    assert.match(String(properties.headers?.["confluo-error-message"]), /503/);
  });

  it("counts a one-way command past its time limit as failed", async (bench) => {
    const fired = signalled();
    await bench.start("worker", (service) => {
      service.route(
        "/job",
        ({ signal }) => {
          signal.addEventListener("abort", () => fired.resolve());
          return new Promise(() => undefined);
        },
        { timeoutMs: 60 },
      );
    });
    await (await bench.start("manager")).send("worker", "/job");
    const { properties } = await bench.takeDead("worker");
    assert.equal(properties.headers?.["confluo-error"], "TIMEOUT");
    await fired.promise;
  });

  it("sends what expired before it was handled to the dead-letter queue", async (bench) => {
    const worker = await bench.start("worker", (service) => service.route("/job", () => undefined));
    await worker.shutdown();
    await (await bench.start("manager")).send("worker", "/job", "old", { expiresMs: 50 });
    const { body } = await bench.takeDead("worker");
    assert.equal(new TextDecoder().decode(body), '"old"');
  });

  it("acknowledges after handling: what a stopped instance had begun is done by another", async (bench) => {
    const begun = signalled();
    const worker = await bench.start("worker", (service) => {
      service.route("/job", () => {
        begun.resolve();
        return new Promise(() => undefined);
      });
    });
    await (await bench.start("manager")).send("worker", "/job");
    await begun.promise;
    await worker.shutdown({ timeoutMs: 50 });
    const again = signalled<boolean>();
    await bench.start("worker", (service) =>
      service.route("/job", ({ redelivered }) => again.resolve(redelivered)),
    );
    assert.equal(await again.promise, true);
  });
};
