/**
 * `npm run bench`: installs and builds what is missing, then runs the benchmark with the given arguments; `--help` lists them.
 * A comparison of two builds of confluo does not use the peers, so they are not installed for it.
 */

import { join } from "node:path";
import { build } from "./build.mjs";
import { buildBench } from "./build-bench.mjs";
import { root, run, runScript } from "./child-process.mjs";
import { ensureInstalled } from "./install.mjs";

const args = process.argv.slice(2);
const isComparison = args.some((arg) => /^--compare(=|$)/.test(arg));

await runScript(async () => {
  // Standard output is reserved for results.
  const log = console.error;
  await ensureInstalled({ log });
  await build();
  if (!isComparison) await ensureInstalled({ folder: join(root, "bench"), log });
  await buildBench();
  const { code } = await run(process.execPath, [join(root, "bench", "dist", "main.js"), ...args]);
  return code;
});
