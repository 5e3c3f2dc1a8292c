/**
 * A stop of RabbitMQ while calls wait: a queue of RabbitMQ before 4.3 marks nothing as redelivered from then on, and the
 * instances that come back have to see to it.
 */

import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "amqplib";
import { afterEach, expect, it, type TestContext } from "vitest";
import { Broker, isConfluoError, type Logger, Service, silentLogger } from "../src/index.ts";
import { eventually } from "../src/testing/index.ts";
import type { Poison } from "./processes/poisoned-worker.ts";
import { startProcess } from "./support/forked.ts";
import { nodeForThisFile } from "./support/own-node.ts";

const LIMIT_MS = 60_000;

const nodeOf = nodeForThisFile();
const cleanUp: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

/** A namespace at the node, and the node's orderly stop and start. */
function ownNode(context: TestContext, name: string) {
  const { url, restart } = nodeOf(context);
  if (restart === undefined) return context.skip("the node cannot be stopped");
  const brokerOf = (logger: Logger = silentLogger): Broker => new Broker(url, { namespace: name, logger });
  const worker = `${name}.worker`;
  const inspect = async (queue: string): Promise<{ messages: number; consumers: number }> => {
    const found = await brokerOf().queue(`${worker}.${queue}`);
    return { messages: found?.messages ?? 0, consumers: found?.consumers ?? 0 };
  };
  return { url, namespace: name, brokerOf, inspect, restart: () => restart("SIGTERM") };
}

const codeOf = (error: unknown): string => (isConfluoError(error) ? error.code : String(error));

it(
  "a call that kills costs two instances and its own answer, also after the broker was stopped while calls waited",
  async (context) => {
    const { url, namespace, brokerOf, inspect, restart } = ownNode(context, "killing");
    const folder = mkdtempSync(join(tmpdir(), "confluo-marks-"));
    cleanUp.push(() => rmSync(folder, { recursive: true, force: true }));
    const ledger = join(folder, "ledger");
    writeFileSync(ledger, "");
    const begun = (name: string): number =>
      readFileSync(ledger, "utf8")
        .split("\n")
        .filter((line) => line === name).length;
    // One call at a time each: the others wait in the queue.
    const workers = await Promise.all(
      Array.from({ length: 5 }, () => startProcess("poisoned-worker.ts", [url, namespace, ledger, "1"])),
    );
    for (const worker of workers) cleanUp.push(() => worker.kill("SIGKILL"));
    const client = await new Service("client", { broker: brokerOf(), logger: silentLogger }).connect();
    cleanUp.push(() => client.shutdown());
    const call = (body: Poison, timeoutMs: number): Promise<string> =>
      client.call("worker", "/task", body, { timeoutMs }).then(() => "answered", codeOf);
    const all = { timeoutMs: LIMIT_MS };
    const serve = async (): Promise<boolean> => (await inspect("calls.again")).consumers === workers.length;
    await eventually(serve, "all instances", all);
    const slow = Array.from({ length: 12 }, () => call({ name: "slow", afterMs: 3_000 }, LIMIT_MS));
    await eventually(async () => begun("slow") === workers.length, "all instances at work", all);
    await eventually(async () => (await inspect("calls")).messages > 0, "calls that wait", all);
    await restart();
    expect(new Set(await Promise.all(slow))).toEqual(new Set(["CONNECTION_LOST"]));
    await eventually(serve, "all instances back", all);
    await eventually(async () => (await call({ name: "no" }, 5_000)) === "answered", "an answer", all);
    const deaths: unknown[] = [];
    for (const worker of workers) void once(worker, "exit").then((how) => deaths.push(how));
    expect(await call({ name: "poison", death: "exit" }, 30_000)).toBe("INSTANCE_LOST");
    expect([begun("poison"), deaths.length]).toEqual([2, 2]);
  },
  3 * LIMIT_MS,
);

it(
  "instances that come back together after such a stop, under load, lose no call and turn none away",
  async (context) => {
    const { url, namespace, brokerOf, inspect, restart } = ownNode(context, "together");
    const lines: string[] = [];
    const note =
      (level: string) =>
      (details: object, message: string): void => {
        const { err } = details as { readonly err?: Error };
        lines.push(`${level}: ${message} ${err?.message ?? ""}`);
      };
    const logger = { ...silentLogger, warn: note("warn"), error: note("error") };
    const workers = Array.from({ length: 8 }, () =>
      new Service("worker", { broker: brokerOf(logger), logger, concurrency: { calls: 1 } }).route(
        "/slow",
        async ({ body }) => {
          await new Promise((resolve) => setTimeout(resolve, 40));
          return body;
        },
      ),
    );
    const callers = Array.from({ length: 3 }, () => {
      return new Service("caller", { broker: brokerOf(logger), logger, timeoutMs: 20_000 });
    });
    cleanUp.push(() => Promise.all([...callers, ...workers].map((service) => service.shutdown())));
    await Promise.all([...workers, ...callers].map((service) => service.connect()));
    const codes = new Map<string, number>();
    let isOver = false;
    const load = callers.flatMap((caller) =>
      Array.from({ length: 16 }, async () => {
        while (!isOver) {
          const code = await caller.call("worker", "/slow", 1).then(() => "answered", codeOf);
          codes.set(code, (codes.get(code) ?? 0) + 1);
          if (code !== "answered") await new Promise((resolve) => setTimeout(resolve, 20));
        }
      }),
    );
    const answered = (): number => codes.get("answered") ?? 0;
    await eventually(() => answered() > 100, "answers", { timeoutMs: LIMIT_MS });
    await eventually(async () => (await inspect("calls")).messages > 0, "calls that wait");
    await restart();
    const healthy = (): boolean => workers.every((worker) => worker.health().status === "healthy");
    await eventually(healthy, "all instances back", { timeoutMs: LIMIT_MS });
    const before = answered();
    await eventually(() => answered() > before + 200, "answers again", { timeoutMs: LIMIT_MS });
    isOver = true;
    await Promise.all(load);
    expect([...codes.keys()].sort()).toEqual(["CONNECTION_LOST", "NOT_CONNECTED", "answered"]);
    const unforeseen = lines.filter(
      (line) => !/^warn: (Lost the connection to|No broker answers at)/.test(line),
    );
    expect(unforeseen).toEqual([]);
    expect(lines.filter((line) => line.includes("541"))).toEqual([]);
    // All of these mark again what they deliver again.
    await Promise.all(workers.map((worker) => worker.shutdown()));
    const connection = await connect(url);
    cleanUp.push(() => connection.close());
    const channel = await connection.createConfirmChannel();
    for (const name of ["calls", "calls.again", "calls.batch"]) {
      const queue = `${namespace}.worker.${name}`;
      channel.sendToQueue(queue, Buffer.alloc(0));
      await channel.waitForConfirms();
      const first = await channel.get(queue);
      if (first !== false) channel.nack(first);
      let isMarked: boolean | undefined;
      const arrived = async (): Promise<boolean> => {
        const second = await channel.get(queue);
        if (second !== false) isMarked = second.fields.redelivered;
        return second !== false;
      };
      await eventually(arrived, `a message in ${name}`);
      expect([name, isMarked]).toEqual([name, true]);
      await channel.deleteQueue(queue);
    }
  },
  3 * LIMIT_MS,
);
