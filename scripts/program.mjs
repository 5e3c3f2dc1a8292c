/**
 * `npm run torture` and `npm run soak`: install what is missing, then run the program with the given arguments; `--help` lists
 * them.
 */

import { join } from "node:path";
import { root, run, runScript } from "./child-process.mjs";
import { ensureInstalled } from "./install.mjs";

await runScript(async () => {
  await ensureInstalled();
  const [name = "", ...args] = process.argv.slice(2);
  const program = join(root, "test", name, "main.ts");
  const { code } = await run(process.execPath, ["--expose-gc", "--import", "tsx", program, ...args]);
  return code;
});
