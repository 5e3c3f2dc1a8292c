/** Each verb against each fault: how it ends for the caller, what is lost, and that all works again by itself. */

import { readFileSync } from "node:fs";
import { connect } from "amqplib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { TestBroker } from "../scripts/test-broker.mjs";
import { type Outcome, runExperiment } from "./faults/experiment.ts";
import { formatTable, type Row } from "./faults/matrix-table.ts";
import { networkFaults } from "./faults/network-faults.ts";
import { consumerTimeout, nodeFaults, shortConsumerTimeout } from "./faults/node-faults.ts";
import { type Fault, freshNamespace, type StageOptions } from "./faults/stage.ts";
import { queueFaults, sharedFaults } from "./faults/topology-faults.ts";
import { type Verb, verbs } from "./faults/traffic.ts";
import { startNodeIfInstalled } from "./support/own-node.ts";
import { deleteNamespace, testBrokerUrl } from "./support/rabbitmq.ts";

/** Tries a fault and writes down what came of it; given a reason instead of a place, that. Never rejects. */
type Attempt = (
  fault: Fault,
  options: StageOptions | string | { readonly failure: unknown },
) => Promise<void>;

const rows: Row[] = [];

afterAll(() => {
  if (rows.length > 0) console.log(formatTable(rows));
});

/** The cells of some faults, which `run` tries all together. */
function describeFaults(
  title: string,
  faults: readonly Fault[],
  run: (attempt: Attempt) => Promise<void>,
): void {
  const results = new Map<Fault, Row["result"]>();
  const attempt: Attempt = async (fault, options) => {
    if (typeof options === "string") results.set(fault, { notRun: options });
    else if ("failure" in options) results.set(fault, options);
    else results.set(fault, await tryFault(fault, options));
  };

  describe(title, () => {
    beforeAll(() => run(attempt), 200_000);

    afterAll(() => {
      for (const fault of faults) rows.push({ fault, result: results.get(fault) ?? { notRun: "not tried" } });
    });

    for (const fault of faults) {
      describe(fault.name, () => {
        const titled = verbs.map((verb) => [titleOf(fault, verb), verb] as const);
        it.for(titled)("%s", ([, verb], { skip }) => {
          const result = results.get(fault);
          if (result === undefined) throw new Error("it was not tried");
          if ("notRun" in result) skip(result.notRun);
          else if ("failure" in result) throw result.failure;
          else expectAsDocumented(result, verb);
        });
      });
    }
  });
}

async function tryFault(fault: Fault, options: StageOptions): Promise<Row["result"]> {
  try {
    return await runExperiment(fault, options);
  } catch (failure) {
    return { failure };
  }
}

function expectAsDocumented({ fault, cells, wrong, log }: Outcome, verb: Verb): void {
  const cell = cells.find((candidate) => candidate.verb === verb);
  const allowed: readonly string[] = ["done", ...fault.codes[verb]];
  const others = [...(cell?.seen.keys() ?? [])].filter((code) => !allowed.includes(code));
  expect(others, ["not as documented; the log:", ...log].join("\n")).toEqual([]);
  expect(cell?.seen.get("done")).toBeGreaterThan(0);
  expect(cell?.late).toBe(0);
  if (!fault.mayLose.includes(verb)) expect(cell?.lost).toBe(0);
  if (fault.repeats === "never") expect(cell?.twice).toBe(0);
  expect(wrong).toEqual([]);
}

function titleOf({ codes, mayLose }: Fault, verb: Verb): string {
  const rejections = codes[verb].length === 0 ? "" : ` or rejects with ${codes[verb].join(" or ")}`;
  return `${verb}: succeeds${rejections} in time, ${mayLose.includes(verb) ? "" : "is not lost "}and works again`;
}

const network = { caller: networkFaults("caller"), handler: networkFaults("handler") };
const topology = [...queueFaults, ...sharedFaults];

for (const side of ["caller", "handler"] as const) {
  describeFaults(`between the ${side} and the broker`, network[side], async (attempt) => {
    const namespace = freshNamespace();
    const options = { url: testBrokerUrl(), namespace, proxied: true };
    await Promise.all(network[side].map((fault) => attempt(fault, options)));
    await deleteNamespace(namespace, []);
  });
}

// At once: the broker of the run and the two nodes have nothing to do with each other.
describeFaults("of the broker", [...topology, ...nodeFaults, consumerTimeout], async (attempt) => {
  const url = testBrokerUrl();
  const namespaces = topology.map(() => freshNamespace());
  const version = await versionOf(url);
  // Started before anything else: that keeps two processors busy for seconds, in which nothing is in time.
  const [node, impatient] = await Promise.all([
    nodeWith({ version }),
    nodeWith({ version, settings: shortConsumerTimeout }),
  ]);
  await Promise.all([
    ...topology.map((fault, i) => attempt(fault, { url, namespace: namespaces[i] ?? "", proxied: true })),
    onOwnNode(node, nodeFaults, attempt),
    onOwnNode(impatient, [consumerTimeout], attempt),
  ]);
  for (const namespace of namespaces) await deleteNamespace(namespace, []);
});

describe("docs/guarantees.md, fault by fault", () => {
  const page = readFileSync(new URL("../docs/guarantees.md", import.meta.url), "utf8");
  const [, section = ""] = page.split("\n## Fault by fault\n");
  const documented = (section.split("\n## ")[0] ?? "")
    .split("\n")
    .filter((line) => line.startsWith("| ") && !/^\| (?:---|what happens)/.test(line))
    .map((line) => line.slice(2, -2).split(" | "));
  const codesIn = (cell = ""): readonly string[] =>
    [...cell.matchAll(/`([A-Z_]{2,})`/g)].map(([, code]) => code ?? "").sort();
  const all = [...network.caller, ...network.handler, ...topology, ...nodeFaults, consumerTimeout];

  it.each(all)("has one row for: $name ($side)", ({ name, side, codes, mayLose, repeats }) => {
    const found = documented.filter(
      ([names, sides]) => names?.split("; ").includes(name) && sides?.split("; ").includes(side),
    );
    expect(found).toHaveLength(1);
    const [, , call, send, publish, gone, twice] = found[0] ?? [];
    expect(codesIn(call)).toEqual(codes.call.toSorted());
    expect(codesIn(send)).toEqual(codes.send.toSorted());
    expect(codesIn(publish === "the same" ? send : publish)).toEqual(codes.publish.toSorted());
    expect(gone === "nothing").toBe(mayLose.length === 0);
    expect(twice?.startsWith("nothing")).toBe(repeats === "never");
  });

  it("has no row for anything else", () => {
    const named = documented.flatMap(([names = "", sides = ""]) =>
      names.split("; ").flatMap((name) => sides.split("; ").map((side) => `${name} (${side})`)),
    );
    expect(named.toSorted()).toEqual(all.map(({ name, side }) => `${name} (${side})`).toSorted());
  });
});

/** A node of one's own, or why there is none: one that is not there cannot be struck; one that does not start is a failure. */
function nodeWith(
  wanted: Parameters<typeof startNodeIfInstalled>[0],
): Promise<TestBroker | string | { readonly failure: unknown }> {
  return startNodeIfInstalled(wanted).catch((failure: unknown) => ({ failure }));
}

/** One after the other: each strikes the node itself. */
async function onOwnNode(
  node: Awaited<ReturnType<typeof nodeWith>>,
  faults: readonly Fault[],
  attempt: Attempt,
): Promise<void> {
  if (typeof node === "string" || "failure" in node) {
    for (const fault of faults) await attempt(fault, node);
    return;
  }
  try {
    const namespace = freshNamespace();
    for (const fault of faults) await attempt(fault, { url: node.url, namespace, proxied: false, node });
  } finally {
    await node.stop();
  }
}

async function versionOf(url: string): Promise<string> {
  const connection = await connect(url.split(",")[0] ?? url);
  try {
    return String(connection.connection.serverProperties.version);
  } finally {
    await connection.close();
  }
}
