/**
 * `npm test`: installs and builds what is missing, starts a broker, runs vitest on it and stops the broker. `npm run
 * test:rabbitmq4`, which is this script with `--rabbitmq4`, does the same with the tests that need a broker and a RabbitMQ 4.
 * Other arguments are passed to vitest: `npm test -- src/errors`. The last line printed is `N passed, M failed`.
 */

import { join } from "node:path";
import { build } from "./build.mjs";
import { root, run, runScript } from "./child-process.mjs";
import { formatCounts } from "./closing-line-reporter.mjs";
import { ensureInstalled } from "./install.mjs";
import { startTestBroker, startTestBroker4 } from "./test-broker.mjs";

const [first, ...others] = process.argv.slice(2);
const onRabbitMQ4 = first === "--rabbitmq4";
const args = onRabbitMQ4 ? ["--project", "broker", ...others] : process.argv.slice(2);
/** @type {import("./closing-line-reporter.mjs").Counts} */
let counts = { passed: 0, failed: 0, skipped: 0 };

await runScript(runTests);
// If nothing ran, or something failed outside the tests, the result must not look like a success without tests.
if (process.exitCode !== 0 && counts.failed === 0) counts.failed = 1;
console.log(formatCounts(counts));

/** @returns {Promise<number>} vitest's exit code */
async function runTests() {
  await ensureInstalled();
  await build();
  const broker = await (onRabbitMQ4 ? startTestBroker4() : startTestBroker());
  try {
    console.log(`Broker: ${broker.description}`);
    const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
    const { code } = await run(process.execPath, [vitest, "run", ...chooseReporters(), ...args], {
      env: { ...process.env, CONFLUO_TEST_BROKER_URL: broker.url },
      onMessage: (message) => {
        counts = /** @type {{ counts: typeof counts }} */ (message).counts;
      },
    });
    return code;
  } finally {
    await broker.stop();
  }
}

function chooseReporters() {
  const ours = `--reporter=${join(import.meta.dirname, "closing-line-reporter.mjs")}`;
  return args.some((arg) => arg.startsWith("--reporter")) ? [ours] : ["--reporter=default", ours];
}
