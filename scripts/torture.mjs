/** `npm run torture`: installs what is missing, then runs the ledger. Arguments go to it; `--help` lists them. */

import { join } from "node:path";
import { root, run, runScript } from "./child-process.mjs";
import { ensureInstalled } from "./install.mjs";

await runScript(async () => {
  await ensureInstalled();
  const program = join(root, "test", "torture", "main.ts");
  const { code } = await run(process.execPath, ["--import", "tsx", program, ...process.argv.slice(2)]);
  return code;
});
