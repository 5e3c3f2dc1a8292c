/** Builds the benchmark into `bench/dist/`, with nothing but what the package's own checkout has installed. */

import { build, compile } from "./build.mjs";
import { isProgram, runScript } from "./child-process.mjs";
import { ensureInstalled } from "./install.mjs";

/** Types are not checked on the way: `npm run typecheck` does that, and the peers may not be installed here. */
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
