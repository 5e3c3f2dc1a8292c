/** The benchmark as `npm run bench` runs it, but without its peers: these two variants need what the package needs. */

import { execFile, execFileSync } from "node:child_process";
import { join } from "node:path";
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

  it("refuses what it does not know in a line, without a stack", async () => {
    const failed = await bench("--only", "calls-1/nothing").catch((error: unknown) => error);
    expect(failed).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(/^--only calls-1\/nothing: there is no variant "nothing"\. .*\n$/),
    });
  });
});
