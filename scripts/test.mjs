/**
 * `npm test`: installs and builds what is missing, gets a broker, runs vitest on it and takes the broker down.
 * Arguments go to vitest: `npm test -- src/errors`. The last line printed is `N passed, M failed`.
 */

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "./build.mjs";
import { root, run, runScript } from "./child-process.mjs";
import { countsVariable, formatCounts } from "./closing-line-reporter.mjs";
import { ensureInstalled } from "./install.mjs";
import { startTestBroker } from "./test-broker.mjs";

const args = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), "confluo-test-"));
const countsFile = join(folder, "counts.json");
await runScript(runTests);
console.log(formatCounts(readCounts()));
rmSync(folder, { recursive: true, force: true });

/** @returns {Promise<number>} vitest's exit code */
async function runTests() {
  await ensureInstalled();
  await build();
  const broker = await startTestBroker();
  try {
    console.log(`Broker: ${broker.description}`);
    const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
    const env = { ...process.env, CONFLUO_TEST_BROKER_URL: broker.url, [countsVariable]: countsFile };
    const { code } = await run(process.execPath, [vitest, "run", ...chooseReporters(), ...args], { env });
    return code;
  } finally {
    await broker.stop();
  }
}

function chooseReporters() {
  const ours = `--reporter=${join(import.meta.dirname, "closing-line-reporter.mjs")}`;
  return args.some((arg) => arg.startsWith("--reporter")) ? [ours] : ["--reporter=default", ours];
}

/** @returns {import("./closing-line-reporter.mjs").Counts} */
function readCounts() {
  try {
    const counts = JSON.parse(readFileSync(countsFile, "utf8"));
    // Nothing ran, or vitest failed on the way out: not a success that merely lacks tests.
    if (process.exitCode !== 0 && counts.failed === 0) counts.failed = 1;
    return counts;
  } catch {
    return { passed: 0, failed: process.exitCode === 0 ? 0 : 1, skipped: 0 };
  }
}
