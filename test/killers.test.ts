/** A message that kills every process that handles it takes none of its neighbours along, and leaves most of a fleet up. */

import type { ChildProcess } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { Service, silentLogger } from "../src/index.ts";
import { eventually } from "../src/testing/index.ts";
import { POISON } from "./processes/killed-worker.ts";
import { startProcess } from "./support/forked.ts";
import { deleteNamespace, freshBroker, testBrokerUrl } from "./support/rabbitmq.ts";

const MESSAGES = 128;
const cleanUp: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

/** A fleet of processes, and a client. */
async function startFleet(size: number): Promise<{
  readonly client: Service;
  readonly fleet: readonly ChildProcess[];
  readonly handled: () => readonly string[];
  readonly deadLetters: () => Promise<number>;
}> {
  const broker = freshBroker({ logger: silentLogger });
  cleanUp.push(() => deleteNamespace(broker.namespace, ["worker", "client"]));
  const folder = mkdtempSync(join(tmpdir(), "confluo-killers-"));
  cleanUp.push(() => rmSync(folder, { recursive: true, force: true }));
  const ledger = join(folder, "ledger");
  writeFileSync(ledger, "");
  const args = [testBrokerUrl(), broker.namespace, ledger];
  const fleet = await Promise.all(Array.from({ length: size }, () => startProcess("killed-worker.ts", args)));
  cleanUp.push(() => {
    for (const child of fleet) child.kill("SIGKILL");
  });
  const client = await new Service("client", { broker, logger: silentLogger }).connect();
  cleanUp.push(() => client.shutdown());
  return {
    client,
    fleet,
    handled: () => readFileSync(ledger, "utf8").split("\n").filter(Boolean),
    deadLetters: async () => (await broker.queue(`${broker.namespace}.worker.dead`))?.messages ?? 0,
  };
}

function survivors(fleet: readonly ChildProcess[]): number {
  return fleet.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null).length;
}

const bodies = Array.from({ length: MESSAGES }, (_, n) => (n === 40 ? POISON : n));

describe("one message that kills, among 128", () => {
  it("costs two instances and its own answer, when it is a call", async () => {
    const { client, fleet } = await startFleet(3);
    const calls = bodies.map((body) =>
      client.call("worker", "/call", body).then(
        (reply) => reply.body,
        (error: unknown) => (error as { readonly code?: string }).code,
      ),
    );
    expect(await Promise.all(calls)).toEqual(
      bodies.map((body) => (body === POISON ? "INSTANCE_LOST" : body)),
    );
    await eventually(() => survivors(fleet) === 1, "the death of two");
    expect((await client.call("worker", "/call", "still there")).body).toBe("still there");
  });

  it("costs three instances and becomes the only dead letter, when it is an event", async () => {
    const { client, fleet, handled, deadLetters } = await startFleet(4);
    await Promise.all(bodies.map((body) => client.publish("/event", body)));
    await eventually(async () => (await deadLetters()) === 1, "the dead letter", { timeoutMs: 20_000 });
    const innocent = bodies.filter((body) => body !== POISON).map(String);
    await eventually(() => new Set(handled()).size === innocent.length, "the others");
    expect(new Set(handled())).toEqual(new Set(innocent));
    expect(survivors(fleet)).toBe(1);
    expect(await deadLetters()).toBe(1);
  });
});
