/** What a message costs that kills each process which handles it, where the instance that puts it aside is the next victim. */

import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { Service, silentLogger } from "../src/index.ts";
import { eventually } from "../src/testing/index.ts";
import { CONNECTED, type Death, type Poison } from "./processes/poisoned-worker.ts";
import { startProcess } from "./support/forked.ts";
import { deleteNamespace, freshBroker, testBrokerUrl } from "./support/rabbitmq.ts";

const LIMIT_MS = 60_000;
const CROWD = 40;
const cleanUp: (() => unknown)[] = [];

// Or the memory of the machine would have to run out.
const { NODE_OPTIONS = "" } = process.env;
beforeAll(() => {
  process.env.NODE_OPTIONS = `${NODE_OPTIONS} --max-old-space-size=128`;
});
afterAll(() => {
  process.env.NODE_OPTIONS = NODE_OPTIONS;
});

afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

/** A client, and instances that come one at a time: each gets what its predecessor left. */
async function succession() {
  const broker = freshBroker({ logger: silentLogger });
  cleanUp.push(() => deleteNamespace(broker.namespace, ["worker", "client"]));
  const folder = mkdtempSync(join(tmpdir(), "confluo-killers-"));
  cleanUp.push(() => rmSync(folder, { recursive: true, force: true }));
  const ledger = join(folder, "ledger");
  writeFileSync(ledger, "");
  const client = await new Service("client", { broker, logger: silentLogger }).connect();
  cleanUp.push(() => client.shutdown());
  const depth = async (queue: string): Promise<number> =>
    (await broker.queue(`${broker.namespace}.worker.${queue}`))?.messages ?? 0;
  /** Starts an instance. Resolves with its process. */
  const start = async (): Promise<ChildProcess> => {
    const child = await startProcess("poisoned-worker.ts", [testBrokerUrl(), broker.namespace, ledger]);
    cleanUp.push(() => child.kill("SIGKILL"));
    return child;
  };
  /** Starts one instance after the other, as long as they die. Resolves with how many died. */
  const deathsUntil = async (isOver: () => Promise<boolean>): Promise<number> => {
    for (let deaths = 0; ; deaths += 1) {
      const child = await start();
      const dead = once(child, "exit");
      const over = eventually(isOver, "the end of it", { timeoutMs: LIMIT_MS }).then(() => "over");
      if ((await Promise.race([dead, over.catch(() => "never")])) === "over") return deaths;
    }
  };
  const begun = (): readonly string[] =>
    readFileSync(ledger, "utf8")
      .split("\n")
      .filter((line) => line !== "" && line !== CONNECTED);
  return { broker, client, start, depth, deathsUntil, begun };
}

/** Sends a harmless command, as soon as there is an inbox for it. */
async function anInboxFor(client: Service): Promise<void> {
  const send = (): Promise<boolean> =>
    client.send("worker", "/task", { name: "no" }).then(
      () => true,
      () => false,
    );
  await eventually(send, "an inbox", { timeoutMs: LIMIT_MS });
}

const poison = (death: Death, afterMs: number): Poison => ({ name: "poison", death, afterMs });

describe("a message that kills who handles it, and is first in the hands of the one that puts it aside", () => {
  const ways: readonly (readonly [Death, number])[] = [
    ["exit", 0],
    ["exit", 50],
    ["abort", 0],
    ["throw", 0],
    ["memory", 0],
  ];

  it.each(ways)(
    "costs three instances and leaves one letter, by %s after %i ms, when it is a one-way command",
    async (death, afterMs) => {
      const { client, start, depth, deathsUntil, begun } = await succession();
      const first = await start();
      await eventually(
        () =>
          client.send("worker", "/task", poison(death, afterMs)).then(
            () => true,
            () => false,
          ),
        "an inbox",
        { timeoutMs: LIMIT_MS },
      );
      if (first.exitCode === null && first.signalCode === null) await once(first, "exit");
      const deaths = await deathsUntil(async () => (await depth("dead")) > 0);
      expect([deaths + 1, begun().length]).toEqual([3, 3]);
      expect([await depth("inbox"), await depth("inbox.again"), await depth("dead")]).toEqual([0, 0, 1]);
    },
    2 * LIMIT_MS,
  );

  it(
    "costs three instances and leaves one letter, when it comes in the middle of a crowd",
    async () => {
      const { client, start, depth, deathsUntil, begun } = await succession();
      const first = await start();
      await anInboxFor(client);
      const names = Array.from({ length: CROWD }, (_, n) => `innocent ${n}`);
      const bodies: Poison[] = names.map((name) => ({ name, afterMs: 100 }));
      bodies.splice(CROWD / 2, 0, poison("exit", 50));
      const dead = once(first, "exit");
      await Promise.all(bodies.map((body) => client.send("worker", "/task", body).catch(() => undefined)));
      await dead;
      const deaths = await deathsUntil(
        async () => (await depth("dead")) > 0 && names.every((name) => begun().includes(name)),
      );
      expect(deaths + 1).toBe(3);
      expect(begun().filter((name) => name === "poison").length).toBe(3);
      await eventually(
        async () => (await depth("inbox")) + (await depth("inbox.again")) === 0,
        "empty queues",
      );
      expect(await depth("dead")).toBe(1);
    },
    2 * LIMIT_MS,
  );

  it(
    "costs three instances and leaves one letter, when it is an event",
    async () => {
      const { client, start, depth, deathsUntil, begun } = await succession();
      const first = await start();
      await anInboxFor(client);
      await eventually(() => begun().length === 1, "the innocent", { timeoutMs: LIMIT_MS });
      // Its acknowledgement must not be lost with the process: then it would begin once more.
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      await client.publish("/event", poison("exit", 0));
      if (first.exitCode === null && first.signalCode === null) await once(first, "exit");
      const deaths = await deathsUntil(async () => (await depth("dead")) > 0);
      expect([deaths + 1, begun().length]).toEqual([3, 4]);
      expect(await depth("dead")).toBe(1);
    },
    2 * LIMIT_MS,
  );

  it.each([0, 50])(
    "costs two instances and its own answer, after %i ms, when it is a call",
    async (afterMs) => {
      const { client, start, deathsUntil, begun } = await succession();
      const first = await start();
      await eventually(
        () =>
          client.call("worker", "/task", { name: "no" }).then(
            () => true,
            () => false,
          ),
        "a queue",
        {
          timeoutMs: LIMIT_MS,
        },
      );
      let code: unknown;
      const failed = client
        .call("worker", "/task", poison("exit", afterMs), { timeoutMs: 2 * LIMIT_MS })
        .catch((error: { readonly code?: string }) => {
          code = error.code;
        });
      if (first.exitCode === null && first.signalCode === null) await once(first, "exit");
      expect(await deathsUntil(async () => code !== undefined)).toBe(1);
      await failed;
      expect([code, begun().length]).toEqual(["INSTANCE_LOST", 3]);
    },
    2 * LIMIT_MS,
  );
});
