/** Runs the example from the README: on the embedded broker, or on the one that `CONFLUO_BROKER` names. */

import { join } from "node:path";
import { build } from "./build.mjs";
import { root, run, runScript } from "./child-process.mjs";
import { ensureInstalled } from "./install.mjs";

await runScript(async () => {
  await ensureInstalled();
  await build();
  const tsx = join(root, "node_modules", "tsx", "dist", "cli.mjs");
  const { code } = await run(process.execPath, [tsx, join("examples", "hello.ts"), ...process.argv.slice(2)]);
  return code;
});
