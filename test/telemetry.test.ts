/** One trace through three processes, over RabbitMQ. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { silentLogger } from "../src/index.ts";
import { eventually } from "../src/testing/index.ts";
import type { SpanLine } from "./processes/traced-service.ts";
import { startProcess } from "./support/forked.ts";
import { deleteNamespace, freshBroker, testBrokerUrl } from "./support/rabbitmq.ts";

const cleanUp: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

it("a trace goes from a caller to a service to a subscriber, each a process of its own", async () => {
  const { namespace } = freshBroker({ logger: silentLogger });
  cleanUp.push(() => deleteNamespace(namespace, ["client", "shop", "mail"]));
  const folder = mkdtempSync(join(tmpdir(), "confluo-traces-"));
  cleanUp.push(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, "spans");
  writeFileSync(file, "");
  const [client] = await Promise.all(
    ["client", "shop", "mail"].map(async (role) => {
      const child = await startProcess("traced-service.ts", [role, testBrokerUrl(), namespace, file]);
      cleanUp.push(() => child.kill("SIGKILL"));
      return child;
    }),
  );
  const readSpans = (): readonly SpanLine[] =>
    readFileSync(file, "utf8")
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line) as SpanLine);
  client?.send("go");
  await eventually(() => readSpans().length === 20, "20 spans");
  const spans = readSpans();
  const traces = new Map(spans.map(({ trace }) => [trace, spans.filter((span) => span.trace === trace)]));
  expect(traces.size).toBe(5);
  for (const trace of traces.values()) {
    const chain: string[] = [];
    const processes = new Set<number>();
    let next = trace.find(({ parent }) => parent === undefined);
    while (next !== undefined) {
      const { id } = next;
      chain.push(next.name);
      processes.add(next.process);
      next = trace.find(({ parent }) => parent === id);
    }
    expect(chain).toEqual(["call shop", "process shop/buy", "publish", "process /bought"]);
    expect(processes.size).toBe(3);
  }
});
