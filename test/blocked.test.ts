/** Handlers that block the event loop beyond the broker's heartbeat: their instance loses its connection and goes on. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "amqplib";
import { afterEach, describe, expect, it } from "vitest";
import { Service, silentLogger } from "../src/index.ts";
import { eventually } from "../src/testing/index.ts";
import { CONNECTED, type Poison } from "./processes/poisoned-worker.ts";
import { startProcess } from "./support/forked.ts";
import { deleteNamespace, freshBroker, testBrokerUrl } from "./support/rabbitmq.ts";

/** Twice the heartbeat and more: that is when the broker gives up a connection. */
const BLOCK_MS = 5_000;
const LIMIT_MS = 60_000;
const cleanUp: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

const codeOf = (call: Promise<unknown>): Promise<unknown> =>
  call.then(
    () => "answered",
    (error: { readonly code?: string }) => error.code,
  );

/** A client, and an instance in a process of its own with a heartbeat of a second. */
async function blockable() {
  const broker = freshBroker({ logger: silentLogger });
  cleanUp.push(() => deleteNamespace(broker.namespace, ["worker", "client"]));
  const folder = mkdtempSync(join(tmpdir(), "confluo-blocked-"));
  cleanUp.push(() => rmSync(folder, { recursive: true, force: true }));
  const ledger = join(folder, "ledger");
  writeFileSync(ledger, "");
  const url = new URL(testBrokerUrl());
  url.searchParams.set("heartbeat", "1");
  const child = await startProcess("poisoned-worker.ts", [url.href, broker.namespace, ledger]);
  cleanUp.push(() => child.kill("SIGKILL"));
  const client = await new Service("client", { broker, logger: silentLogger }).connect();
  cleanUp.push(() => client.shutdown());
  const begun = (name: string): number =>
    readFileSync(ledger, "utf8")
      .split("\n")
      .filter((line) => line === name).length;
  await eventually(() => begun(CONNECTED) === 1, "the instance", { timeoutMs: LIMIT_MS });
  /** Whether the instance, and no other, answers. */
  const isThere = async (): Promise<boolean> => {
    const before = begun("ping");
    await codeOf(client.call("worker", "/task", { name: "ping" }, { timeoutMs: 5_000 }));
    return begun("ping") > before;
  };
  const depth = async (queue: string): Promise<number> =>
    (await broker.queue(`${broker.namespace}.worker.${queue}`))?.messages ?? 0;
  return { broker, client, begun, isThere, depth };
}

describe("a handler that blocks the loop beyond the heartbeat, in the only instance", () => {
  it(
    "is run twice for a call, and then it is INSTANCE_LOST",
    async () => {
      const { client, begun, isThere } = await blockable();
      const body: Poison = { name: "long", blockMs: BLOCK_MS };
      const call = client.call("worker", "/task", body, { timeoutMs: LIMIT_MS });
      expect(await codeOf(call)).toBe("INSTANCE_LOST");
      expect(begun("long")).toBe(2);
      await eventually(isThere, "the instance again", { timeoutMs: LIMIT_MS });
      expect(begun("long")).toBe(2);
    },
    3 * LIMIT_MS,
  );

  it(
    "is run twice at most for each of several calls that came together",
    async () => {
      const { client, begun, isThere } = await blockable();
      const names = ["a", "b"];
      const calls = names.map((name) =>
        codeOf(client.call("worker", "/task", { name, blockMs: BLOCK_MS }, { timeoutMs: LIMIT_MS })),
      );
      await Promise.all(calls);
      await eventually(isThere, "the instance again", { timeoutMs: LIMIT_MS });
      for (const name of names) expect(begun(name)).toBeLessThanOrEqual(2);
    },
    3 * LIMIT_MS,
  );

  it(
    "is not run again when its caller has given up meanwhile",
    async () => {
      const { client, begun, isThere } = await blockable();
      const body: Poison = { name: "late", blockMs: BLOCK_MS };
      expect(await codeOf(client.call("worker", "/task", body, { timeoutMs: 3_000 }))).toBe("TIMEOUT");
      await eventually(isThere, "the instance again", { timeoutMs: LIMIT_MS });
      expect(begun("late")).toBe(1);
    },
    3 * LIMIT_MS,
  );

  it.each(["send", "publish"] as const)(
    "is run once for a %s",
    async (verb) => {
      const { client, begun, isThere, depth } = await blockable();
      const body: Poison = { name: "long", blockMs: BLOCK_MS };
      if (verb === "send") await client.send("worker", "/task", body);
      else await client.publish("/event", body);
      await eventually(() => begun("long") > 0, "its start");
      await eventually(isThere, "the instance again", { timeoutMs: LIMIT_MS });
      await eventually(
        async () => (await depth("inbox")) + (await depth("inbox.again")) === 0,
        "nothing left of it",
      );
      expect([begun("long"), await depth("dead")]).toEqual([1, 0]);
    },
    3 * LIMIT_MS,
  );
});

describe("a handler that blocks the loop beyond the heartbeat, while another instance puts its message aside", () => {
  it(
    "is not run again for the copy, though that comes to the same instance",
    async () => {
      const { broker, client, begun, isThere, depth } = await blockable();
      await client.send("worker", "/task", { name: "long", blockMs: BLOCK_MS } satisfies Poison);
      await eventually(() => begun("long") === 1, "its start");
      // The other one makes the copy and cannot take it: it has something alone already, and does not end that.
      let release: () => void = () => undefined;
      const held = new Promise<void>((resolve) => {
        release = resolve;
      });
      const ran: string[] = [];
      const other = new Service("worker", { broker, logger: silentLogger, retry: { attempts: 1 } });
      other.route("/task", async ({ body, kind }) => {
        if (kind === "call") return;
        ran.push((body as Poison).name);
        await held;
      });
      other.subscribe("/event", () => undefined);
      // One for each of the two, whoever is first in line.
      await putAside(broker.namespace, { name: "slow 1" });
      await putAside(broker.namespace, { name: "slow 2" });
      await other.connect();
      cleanUp.push(() => other.shutdown({ timeoutMs: 1_000 }));
      await eventually(() => ran.length === 1, "the slow one");
      await eventually(isThere, "the first again", { timeoutMs: LIMIT_MS });
      await eventually(
        async () => (await depth("inbox")) + (await depth("inbox.again")) === 0,
        "nothing left of it",
        { timeoutMs: LIMIT_MS },
      );
      release();
      expect([begun("long"), ran.filter((name) => name === "long")]).toEqual([1, []]);
      expect(await depth("dead")).toBe(0);
    },
    3 * LIMIT_MS,
  );
});

/** Publishes a command as an instance does that puts it aside. */
async function putAside(namespace: string, body: Poison): Promise<void> {
  const connection = await connect(testBrokerUrl());
  const channel = await connection.createConfirmChannel();
  const headers = { "confluo-path": "/task", "confluo-kind": "send" };
  const options = { messageId: body.name, contentType: "application/json", persistent: true, headers };
  channel.sendToQueue(`${namespace}.worker.inbox.again`, Buffer.from(JSON.stringify(body)), options);
  await channel.waitForConfirms();
  await connection.close();
}
