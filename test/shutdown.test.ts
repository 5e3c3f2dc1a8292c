/** SIGTERM in the middle of load: an instance leaves, and nobody notices. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterEach, expect, it } from "vitest";
import { Service, silentLogger } from "../src/index.ts";
import { eventually } from "../src/testing/index.ts";
import { startProcess, terminate } from "./support/forked.ts";
import { deleteNamespace, freshBroker, testBrokerUrl } from "./support/rabbitmq.ts";

const cleanUp: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

it("ends instances with exit code 0 while calls are answered, and tasks and events handled, by the others", async () => {
  const broker = freshBroker({ logger: silentLogger });
  cleanUp.push(() => deleteNamespace(broker.namespace, ["worker", "client"]));
  const folder = mkdtempSync(join(tmpdir(), "confluo-shutdown-"));
  cleanUp.push(() => rmSync(folder, { recursive: true, force: true }));
  const ledger = join(folder, "ledger");
  writeFileSync(ledger, "");
  const start = async () => {
    const child = await startProcess("busy-worker.ts", [testBrokerUrl(), broker.namespace, ledger]);
    cleanUp.push(() => child.kill("SIGKILL"));
    return child;
  };
  const client = await new Service("client", { broker, logger: silentLogger }).connect();
  cleanUp.push(() => client.shutdown());
  const first = await start();

  let stopped = false;
  cleanUp.push(() => {
    stopped = true;
  });
  const confirmed = new Set<string>();
  const failures: unknown[] = [];
  const load = async (name: string): Promise<void> => {
    for (let n = 0; !stopped; n += 1) {
      const id = `${name}-${n}`;
      try {
        await client.send("worker", "/task", `task-${id}`);
        confirmed.add(`task-${id}`);
        await client.publish("/event", `event-${id}`);
        confirmed.add(`event-${id}`);
        expect((await client.call("worker", "/call", id)).body).toBe(id);
      } catch (error) {
        failures.push(error);
      }
      // Leaves the instances that start some of the processor.
      await wait(5);
    }
  };
  const loads = Array.from({ length: 16 }, (_, n) => load(String(n)));
  // Each leaves when the next is there, as in a rolling deploy.
  let present = first;
  for (let deploys = 0; deploys < 3; deploys += 1) {
    const seen = confirmed.size;
    await eventually(() => confirmed.size > seen + 100, "some load");
    const next = await start();
    expect(await terminate(present)).toBe(0);
    present = next;
  }
  stopped = true;
  await Promise.all(loads);
  expect(failures).toEqual([]);
  const handled = (): Set<string> => new Set(readFileSync(ledger, "utf8").split("\n").filter(Boolean));
  await eventually(() => handled().size >= confirmed.size, "the last of them");
  expect([...confirmed].filter((id) => !handled().has(id))).toEqual([]);
  expect(await terminate(present)).toBe(0);
  expect((await broker.queue(`${broker.namespace}.worker.dead`))?.messages).toBe(0);
}, 240_000);

it("services of one process answer each other after SIGTERM until all have finished what they had", async () => {
  const broker = freshBroker({ logger: silentLogger });
  cleanUp.push(() => deleteNamespace(broker.namespace, ["left", "right", "client"]));
  const child = await startProcess("neighbours.ts", [testBrokerUrl(), broker.namespace]);
  cleanUp.push(() => child.kill("SIGKILL"));
  const client = await new Service("client", { broker, logger: silentLogger }).connect();
  cleanUp.push(() => client.shutdown());
  let begun = 0;
  child.on("message", (told) => {
    if (told === "begun") begun += 1;
  });
  const answers = Array.from({ length: 20 }, (_, n) => client.call("left", "/start", n));
  await eventually(() => begun === 20, "all of them");
  const began = performance.now();
  expect(await terminate(child)).toBe(0);
  expect(performance.now() - began).toBeLessThan(6_000);
  expect((await Promise.all(answers)).map(({ body }) => body)).toEqual(
    Array.from({ length: 20 }, (_, n) => n),
  );
}, 60_000);
