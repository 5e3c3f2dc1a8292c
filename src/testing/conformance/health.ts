/** States that can be watched, and health that can be asked for. */

import assert from "node:assert/strict";
import { isConfluoError, type StateChange } from "../../index.ts";
import { eventually } from "../eventually.ts";
import { type Define, rejection } from "./suite.ts";

export const health: Define = (it) => {
  it("tells who watches of every state, in order", async (bench) => {
    const seen: string[] = [];
    const off = new AbortController();
    const ended: StateChange[] = [];
    const service = bench
      .create("watched")
      .route("/", () => 1)
      .onState(({ from, to }) => void seen.push(`${from} ${to}`))
      .onState((change) => void ended.push(change), { signal: off.signal });
    assert.equal(service.state, "idle");
    await service.connect();
    off.abort();
    await service.shutdown();
    await service.connect();
    await service.shutdown();
    const life = ["connecting running", "running draining", "draining stopped"];
    assert.deepEqual(seen, ["idle connecting", ...life, "stopped connecting", ...life]);
    assert.equal(ended.length, 2);
  });

  it("outlives listeners that throw or reject", async (bench) => {
    const service = bench.create("watched");
    service.onState(() => {
      throw new Error("listener");
    });
    service.onState((() => Promise.reject(new Error("listener"))) as () => void);
    await service.connect();
    await eventually(() => bench.log.filter(({ level }) => level === "error").length >= 4, "the lines");
    assert.throws(() => service.onState(5 as never), { code: "INVALID_ARGUMENT" });
    assert.throws(() => service.onState(() => undefined, { signal: 1 } as never), {
      code: "INVALID_ARGUMENT",
    });
    assert.equal(service.state, "running");
  });

  it("is down with the reason when no broker was reached", async (bench) => {
    const changes: StateChange[] = [];
    const service = bench.create("vain", { broker: "amqp://127.0.0.1:1" });
    service.onState((change) => void changes.push(change));
    const connecting = rejection(service.connect(undefined, { timeoutMs: 1_000 }));
    assert.ok(isConfluoError(service.health().reason, "NOT_CONNECTED"));
    await eventually(
      () => isConfluoError(service.health().reason, "BROKER_UNREACHABLE"),
      "the first failure",
    );
    await connecting;
    assert.deepEqual(
      changes.map(({ to, reason }) => [to, reason?.code]),
      [
        ["connecting", undefined],
        ["idle", "BROKER_UNREACHABLE"],
      ],
    );
    assert.equal(service.health().status, "down");
  });

  it("is healthy with every consumer attached, and degraded until a deleted queue is consumed again", async (bench) => {
    const service = bench.create("worker");
    service.route("/", () => 1).subscribe("/e", () => undefined, { per: "instance" });
    const { reason, ...idle } = service.health();
    assert.deepEqual(idle, { status: "down", state: "idle", detached: [], blocked: undefined });
    assert.ok(isConfluoError(reason, "NOT_CONNECTED"));
    await service.connect();
    assert.deepEqual(service.health(), {
      status: "healthy",
      state: "running",
      detached: [],
      blocked: undefined,
      reason: undefined,
    });
    const client = await bench.foreign();
    const queue = bench.queue("worker", "calls");
    await client.deleteQueue(queue);
    await eventually(() => service.health().status === "degraded", "the loss");
    assert.deepEqual(service.health().detached, [queue]);
    await eventually(() => service.health().status === "healthy", "the repair");
    assert.equal((await service.call("worker", "/")).body, 1);
    await service.shutdown();
    assert.equal(service.health().status, "down");
    assert.ok(isConfluoError(service.health().reason, "NOT_CONNECTED"));
    assert.match(service.health().reason?.message ?? "", /^worker was shut down/);
  });
};
