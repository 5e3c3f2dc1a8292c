/** Deadlines and waits between hosts whose clocks are a minute apart. */

import { once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import { Service, silentLogger } from "../src/index.ts";
import { eventually } from "../src/testing/index.ts";
import { startProcess } from "./support/forked.ts";
import { deleteNamespace, freshBroker, testBrokerUrl } from "./support/rabbitmq.ts";

const cleanUp: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

describe("with a clock that is a minute ahead of its caller's", () => {
  it("a service keeps the caller's deadlines, and what may wait may wait", async () => {
    const broker = freshBroker({ logger: silentLogger });
    cleanUp.push(() => deleteNamespace(broker.namespace, ["worker", "caller"]));
    const worker = await startProcess(
      "clocked-worker.ts",
      [testBrokerUrl(), broker.namespace],
      ["clock-ahead.mjs"],
    );
    cleanUp.push(() => worker.kill("SIGKILL"));
    const caller = await new Service("caller", { broker, logger: silentLogger }).connect();
    cleanUp.push(() => caller.shutdown());
    const { body: theirs } = await caller.call("worker", "/now");
    expect((theirs as number) - Date.now()).toBeGreaterThan(30_000);

    await expect(caller.call("worker", "/slow", undefined, { timeoutMs: 600 })).rejects.toMatchObject({
      code: "TIMEOUT",
    });
    // As long as the call was under way is missing, and a timer may be a moment early or late.
    let given: unknown;
    await eventually(async () => {
      given = (await caller.call("worker", "/given")).body;
      return given !== null;
    }, "the handler's deadline");
    expect(given).toBeGreaterThan(400);
    expect(given).toBeLessThan(5_000);

    const handled = once(worker, "message");
    await caller.send("worker", "/task", 7, { expiresMs: 20_000 });
    expect((await handled)[0]).toEqual({ attempt: 2, body: 7 });
    expect((await broker.queue(`${broker.namespace}.worker.dead`))?.messages).toBe(0);
  });
});
