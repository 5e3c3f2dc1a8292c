/** Builds the benchmark into `bench/dist/`, using only the packages that are installed in the checkout's root. */

import { build, compile } from "./build.mjs";
import { isProgram, runScript } from "./child-process.mjs";
import { ensureInstalled } from "./install.mjs";

/** Builds without a type check, because the peers may not be installed; `npm run typecheck` checks the types. */
export async function buildBench() {
  await compile("bench/tsconfig.build.json", "bench/dist", ["--noCheck"]);
}

if (isProgram(import.meta.filename)) {
  await runScript(async () => {
    await ensureInstalled();
    await build();
    await buildBench();
  });
}
