/** Runs the example from the README on the broker that `CONFLUO_BROKER` names, else on the embedded broker. */

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
