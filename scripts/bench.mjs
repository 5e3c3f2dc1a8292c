/**
 * `npm run bench`: installs and builds what is missing, then runs the benchmark. Arguments go to it; `--help` lists them.
 * Two builds of confluo are compared without the peers, so these need not be installed for it.
 */

import { join } from "node:path";
import { build } from "./build.mjs";
import { buildBench } from "./build-bench.mjs";
import { root, run, runScript } from "./child-process.mjs";
import { ensureInstalled } from "./install.mjs";

const args = process.argv.slice(2);
const isComparison = args.some((arg) => /^--compare(=|$)/.test(arg));

await runScript(async () => {
  // Its standard output is for results.
  const log = console.error;
  await ensureInstalled({ log });
  await build();
  if (!isComparison) await ensureInstalled({ folder: join(root, "bench"), log });
  await buildBench();
  const { code } = await run(process.execPath, [join(root, "bench", "dist", "main.js"), ...args]);
  return code;
});
