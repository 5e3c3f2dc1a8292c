/** Delays on a node of one's own: none early and none lost, whatever is killed meanwhile; and all 26 levels. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, it, type TestContext } from "vitest";
import { Broker, Service, ServiceError, silentLogger } from "../src/index.ts";
import { allLevels, LONGEST_PASS_MS } from "../src/protocol/delays.ts";
import { LEVELS, Namespace } from "../src/protocol/topology.ts";
import { eventually } from "../src/testing/index.ts";
import type { DelayedTask } from "./processes/delay-worker.ts";
import { runCommand, startCommand } from "./support/command-line.ts";
import { startProcess } from "./support/forked.ts";
import { nodeForThisFile } from "./support/own-node.ts";

/** The longest delay, in milliseconds. 64,000 uses two levels more, for a run by hand. */
const LONGEST_MS = Number(process.env.CONFLUO_TEST_DELAY_MS ?? 16_000);
const MESSAGES = 2_000;
/** Clocks of timers may be a moment early. */
const TICK_MS = 2;

const nodeOf = nodeForThisFile();
const cleanUp: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

function ownNode(context: TestContext, namespace: string) {
  const { url, restart, control } = nodeOf(context);
  if (restart === undefined || control === undefined) return context.skip("the node cannot be controlled");
  return { url, namespace, restart, control, broker: new Broker(url, { namespace, logger: silentLogger }) };
}

/** Starts a service, which the end of the test shuts down. */
async function start(broker: Broker, name: string, setUp: (service: Service) => unknown): Promise<Service> {
  const service = new Service(name, { broker, logger: silentLogger, timeoutMs: 60_000 });
  setUp(service);
  cleanUp.push(() => service.shutdown({ timeoutMs: 1_000 }));
  return service.connect();
}

describe("of 2,000 delayed messages", () => {
  it(
    "none is early and none is lost, though an instance and the broker are killed meanwhile",
    async (context) => {
      const { url, namespace, restart, broker } = ownNode(context, "killed");
      const folder = mkdtempSync(join(tmpdir(), "confluo-delays-"));
      cleanUp.push(() => rmSync(folder, { recursive: true, force: true }));
      const ledger = join(folder, "ledger");
      writeFileSync(ledger, "");
      const work = (): Promise<{ kill(signal: "SIGKILL"): boolean }> =>
        startProcess("delay-worker.ts", [url, namespace, ledger]);
      const victim = await work();
      cleanUp.push(() => victim.kill("SIGKILL"));
      // Half of the messages are events, which this service publishes when they are due.
      const sender = await start(broker, "sender", (service) => service.route("/", () => 1));
      const began = Date.now();
      const sends = Array.from({ length: MESSAGES }, (_, id) => {
        const delayMs = 250 + Math.random() * (LONGEST_MS - 250);
        const task: DelayedTask = { id, dueAt: Date.now() + delayMs };
        const options = { delayMs, messageId: `m-${id}` };
        return id % 2 === 0
          ? sender.send("worker", "/task", task, options)
          : sender.publish("/event", task, options);
      });
      await Promise.all(sends);
      await sleep(1_500);
      victim.kill("SIGKILL");
      const heir = await work();
      cleanUp.push(() => heir.kill("SIGKILL"));
      await restart("SIGKILL");
      const seen = (): (readonly [number, number])[] =>
        readFileSync(ledger, "utf8")
          .split("\n")
          .filter((line) => line !== "")
          .map((line) => line.split(" ").map(Number) as [number, number]);
      const count = (): number => new Set(seen().map(([id]) => id)).size;
      const patience = { timeoutMs: LONGEST_MS + 90_000 - (Date.now() - began) };
      await eventually(() => count() === MESSAGES, "all messages", patience);
      expect(Math.min(...seen().map(([, lateMs]) => lateMs))).toBeGreaterThanOrEqual(-TICK_MS);
      for (const service of ["worker", "sender"])
        expect((await broker.queue(`${namespace}.${service}.dead`))?.messages).toBe(0);
      expect((await broker.queue(`${namespace}.orphans`))?.messages).toBe(0);
    },
    LONGEST_MS + 180_000,
  );
});

describe("all 26 levels", () => {
  it("pass a message on, which has them all in its story", { timeout: 120_000 }, async (context) => {
    const { namespace, control, broker } = ownNode(context, "short");
    // With this policy, a message that would wait for 194 days passes them in seconds.
    const policy = ["short", `^${namespace}\\.wait\\.`, '{"message-ttl":20}', "--apply-to", "queues"];
    await control(["set_policy", ...policy]);
    const seen: unknown[] = [];
    const worker = await start(broker, "worker", (service) => {
      service.route("/task", ({ body, attempt }) => {
        if (attempt === 1) throw new ServiceError("once more", { retry: { afterMs: 250 } });
        seen.push(body);
      });
      service.subscribe("/event", ({ body }) => void seen.push(body));
    });
    const headers = { large: "x".repeat(20_000) };
    await worker.send("worker", "/task", "command", { delayMs: LONGEST_PASS_MS, headers });
    await worker.publish("/event", "event", { delayMs: LONGEST_PASS_MS, headers });
    const client = await broker.openClient();
    cleanUp.push(() => client.close());
    for (const { name } of allLevels(new Namespace(namespace)))
      expect(await client.inspectQueue(name), name).toBeDefined();
    expect(allLevels(new Namespace(namespace))).toHaveLength(LEVELS);
    await eventually(() => seen.length === 2, "both", { timeoutMs: 60_000 });
    expect(seen.toSorted()).toEqual(["command", "event"]);
  });
});

it("loses nothing when confluo retry is killed in the middle", { timeout: 120_000 }, async (context) => {
  const { url, namespace, broker } = ownNode(context, "forward");
  const env = { CONFLUO_BROKER: url, CONFLUO_NAMESPACE: namespace };
  const count = 1_000;
  const again = new Set<unknown>();
  let failed = 0;
  const worker = await start(broker, "worker", (service) =>
    service.route("/task", ({ body, attempt }) => {
      if (attempt > 1) again.add(body);
      else {
        failed += 1;
        throw new ServiceError("no", { retry: { afterMs: 600_000 } });
      }
    }),
  );
  await Promise.all(Array.from({ length: count }, (_, n) => worker.send("worker", "/task", n)));
  await eventually(() => failed === count, "all failures");
  await eventually(async () => (await broker.stats())[0]?.routes[0]?.waiting === count, "all waits");
  const killed = startCommand(["retry", "worker"], env);
  await eventually(() => again.size > 0, "the first retry");
  killed.kill("SIGKILL");
  const isDone = async (): Promise<boolean> => {
    await broker.retry("worker");
    return again.size === count;
  };
  await eventually(isDone, "all retries", { timeoutMs: 60_000 });
  expect((await broker.queue(`${namespace}.worker.dead`))?.messages).toBe(0);
});

it("confluo sends with a delay, shows what waits, and tries again now what failed", {
  timeout: 120_000,
}, async (context) => {
  const { url, namespace, broker } = ownNode(context, "shown");
  const env = { CONFLUO_BROKER: url, CONFLUO_NAMESPACE: namespace };
  const confluo = (...args: string[]) => runCommand(args, { env });
  const seen: string[] = [];
  const worker = await start(broker, "worker", (service) =>
    service.route("/task", ({ body, attempt }) => {
      seen.push(`${body} ${attempt}`);
      if (body === "fails" && attempt === 1) throw new ServiceError("no", { retry: { afterMs: 600_000 } });
    }),
  );
  const began = Date.now();
  const at = new Date(began + 3_000).toISOString();
  expect(await confluo("send", "worker", "/task", "at", "--text", "--at", at)).toMatchObject({
    code: 0,
    err: "",
  });
  expect(await confluo("send", "worker", "/task", "in", "--text", "--in", "500ms")).toMatchObject({
    code: 0,
  });
  await eventually(() => seen.length === 2, "both");
  expect(Date.now() - began).toBeGreaterThanOrEqual(3_000 - TICK_MS);
  for (const wrong of [
    ["--in", "5"],
    ["--at", "tomorrow"],
    ["--in", "1h", "--at", at],
  ])
    expect((await confluo("send", "worker", "/task", "1", ...wrong)).code).toBeGreaterThan(0);
  expect((await confluo("call", "worker", "/task", "1", "--in", "1h")).err).toContain("--in");
  for (let n = 0; n < 3; n += 1) await worker.send("worker", "/task", "later", { delayMs: 7_200_000 });
  await worker.send("worker", "/task", "fails");
  await eventually(() => seen.includes("fails 1"), "the failure");
  await eventually(async () => ((await broker.stats())[0]?.routes[0]?.waiting ?? 0) === 1, "its wait");
  expect((await confluo("ls")).out).toMatch(/ DELAYED .*\n.*worker +1 +healthy .* 3, 1 h 59 min /);
  expect(JSON.parse((await confluo("ls", "--json")).out)).toMatchObject([{ delayed: { messages: 3 } }]);
  expect((await confluo("show", "worker")).out).toMatch(/^delayed: 3 wait, the last until \d{4}-.*Z$/m);
  expect((await confluo("retry", "worker")).out).toBe("1 message of worker is tried again now.\n");
  await eventually(() => seen.includes("fails 2"), "the retry");
  expect(JSON.parse((await confluo("retry", "worker", "--json")).out)).toEqual({
    service: "worker",
    retried: 0,
  });
  expect((await confluo("retry", "worker")).out).toBe("No message of worker waits for another try.\n");
  expect(seen.filter((line) => line.startsWith("later"))).toEqual([]);
});
