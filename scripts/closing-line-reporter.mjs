/** A vitest reporter that leaves the counts of a run where `test.mjs` finds them. Prints nothing itself. */

import { writeFileSync } from "node:fs";

/**
 * @typedef {{ passed: number, failed: number, skipped: number }} Counts
 * @typedef {import("vitest/node").TestModule} TestModule
 */

/** Names the file to write, in the environment. */
export const countsVariable = "CONFLUO_TEST_COUNTS";

export default class ClosingLineReporter {
  /**
   * @param {readonly TestModule[]} modules
   * @param {readonly unknown[]} unhandledErrors
   */
  onTestRunEnd(modules, unhandledErrors) {
    const file = process.env[countsVariable];
    if (file === undefined) return;
    /** @type {Counts} */
    const counts = { passed: 0, failed: unhandledErrors.length, skipped: 0 };
    for (const module of modules) count(module, counts);
    writeFileSync(file, JSON.stringify(counts));
  }
}

/**
 * @param {TestModule} module
 * @param {Counts} counts
 */
function count(module, counts) {
  const failedBefore = counts.failed;
  for (const test of module.children.allTests()) {
    const { state } = test.result();
    if (state === "passed") counts.passed++;
    else if (state === "failed") counts.failed++;
    else counts.skipped++;
  }
  // A file that cannot be loaded, or a hook that throws, fails without a failing test.
  if (module.state() === "failed" && counts.failed === failedBefore) counts.failed++;
}

/** @param {Counts} counts */
export function formatCounts({ passed, failed, skipped }) {
  const line = `${passed} passed, ${failed} failed`;
  return skipped === 0 ? line : `${line}, ${skipped} skipped`;
}
