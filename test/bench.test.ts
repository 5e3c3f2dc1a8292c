/** The benchmark as `npm run bench` runs it, but without its peers: these two variants need what the package needs. */

import { execFile, execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";

import { beforeAll, describe, expect, it } from "vitest";
import { testBrokerUrl } from "./support/rabbitmq.ts";

const root = join(import.meta.dirname, "..");
const run = promisify(execFile);

beforeAll(() => {
  execFileSync(process.execPath, [join(root, "scripts", "build-bench.mjs")], { stdio: "inherit" });
});

function bench(...args: readonly string[]): Promise<{ stdout: string; stderr: string }> {
  return run(process.execPath, [join(root, "bench", "dist", "main.js"), ...args]);
}

/** Returns the builds whose code for sending ran in the programs that left these profiles. */
function readBuilds(profiles: string): readonly string[] {
  const texts = readdirSync(profiles).map((file) => readFileSync(join(profiles, file), "utf8"));
  const found = texts.flatMap((text) => [...text.matchAll(/"(file:[^"]+\/dist)\/(?:core|sending)\/[^"]+"/g)]);
  return [...new Set(found.map(([, folder]) => folder as string))];
}

describe("the benchmark", () => {
  it("measures variants on a given broker and prints nothing but JSON", async () => {
    const broker = ["--broker", testBrokerUrl()];
    const args = ["--only", "calls-1/raw,confluo", "--rounds", "1", "--seconds", "0.2", "--json"];
    const { stdout } = await bench(...broker, ...args);
    const report = JSON.parse(stdout);
    expect(report).toMatchObject({
      interrupted: false,
      machine: { node: process.versions.node, rabbitmq: expect.stringMatching(/^\d+\.\d+/) },
      settings: { rounds: 1, seconds: 0.2 },
      sections: [{ name: "calls-1", rows: [{ variant: "raw" }, { variant: "confluo" }] }],
    });
    for (const { medians, rounds, failure } of report.sections[0].rows) {
      expect(failure).toBeUndefined();
      expect(rounds).toEqual([medians]);
      expect(Object.keys(medians)).toEqual(["perSecond", "p50Ms", "p99Ms", "requesterUs", "handlersUs"]);
      for (const figure of Object.values(medians)) expect(figure).toBeGreaterThan(0);
    }
  });

  it("compares the build of a commit with this one, in pairs", async () => {
    const profiles = mkdtempSync(join(tmpdir(), "confluo-bench-"));
    try {
      const numbers = ["--pairs", "2", "--seconds", "0.1", "--cpu-prof", profiles];
      const args = [
        "--compare",
        "HEAD",
        "--only",
        "calls-64/confluo",
        "--broker",
        testBrokerUrl(),
        ...numbers,
      ];
      const { stdout } = await bench(...args, "--json");
      const comparison = JSON.parse(stdout);
      const commit = execFileSync("git", ["rev-parse", "HEAD"], { cwd: root, encoding: "utf8" }).trim();
      expect(comparison).toMatchObject({
        interrupted: false,
        machine: { node: process.versions.node, rabbitmq: expect.stringMatching(/^\d+\.\d+/) },
        settings: { pairs: 2, seconds: 0.1 },
        old: { revision: "HEAD", commit },
        cases: [{ name: "calls-64/confluo", failures: {} }],
      });
      const [{ pairs, figures }] = comparison.cases;
      expect(pairs).toHaveLength(2);
      for (const { old, new: ours, ratio } of [figures.perSecond, figures.cpuUs]) {
        for (const value of [old, ours, ratio.mean, ratio.low]) expect(value).toBeGreaterThan(0);
        expect(ratio.low).toBeLessThanOrEqual(ratio.mean);
        expect(ratio.high).toBeGreaterThanOrEqual(ratio.mean);
        expect(ratio.least).toBeLessThanOrEqual(ratio.greatest);
      }
      // The builds are told apart by where the code that ran came from.
      expect(readBuilds(join(profiles, "old"))).toEqual([expect.stringContaining("/confluo-revision-")]);
      expect(readBuilds(join(profiles, "new"))).toEqual([pathToFileURL(join(root, "dist")).href]);
    } finally {
      rmSync(profiles, { recursive: true, force: true });
    }
  }, 120_000);

  it("says before it measures that it cannot find the commit to compare with", async () => {
    const failed = await bench("--compare", "no-such-branch").catch((error: unknown) => error);
    expect(failed).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(/^There is no revision "no-such-branch" in this checkout.*\n$/),
    });
  });

  it("refuses what it does not know in a line, without a stack", async () => {
    const failed = await bench("--only", "calls-1/nothing").catch((error: unknown) => error);
    expect(failed).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(/^--only calls-1\/nothing: there is no variant "nothing"\. .*\n$/),
    });
  });
});
