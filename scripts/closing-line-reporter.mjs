/** A vitest reporter that sends the counts of a run to `test.mjs`, which started vitest. It prints nothing. */

/**
 * @typedef {{ passed: number, failed: number, skipped: number }} Counts
 * @typedef {import("vitest/node").TestModule} TestModule
 */

export default class ClosingLineReporter {
  constructor() {
    // If the parent process ends, the broker ends, too, so vitest must not continue.
    process.once("disconnect", () => process.exit(1));
    process.channel?.unref();
  }

  /**
   * @param {readonly TestModule[]} modules
   * @param {readonly unknown[]} unhandledErrors
   */
  async onTestRunEnd(modules, unhandledErrors) {
    /** @type {Counts} */
    const counts = { passed: 0, failed: unhandledErrors.length, skipped: 0 };
    for (const module of modules) count(module, counts);
    await new Promise((resolve) => process.send?.({ counts }, resolve) ?? resolve(undefined));
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
