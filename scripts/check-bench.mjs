/**
 * Checks the types of the benchmark. If the peers, which only the benchmark needs, are not installed, errors in their variants
 * are ignored; all other errors still count.
 */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { root, run, runScript } from "./child-process.mjs";

const peers = "bench/src/variants/peers/";

await runScript(async () => {
  const compiler = join(root, "node_modules", "typescript", "bin", "tsc");
  const args = [compiler, "-p", "bench/tsconfig.json", "--pretty", "false"];
  const { code, output } = await run(process.execPath, args, { quiet: true });
  const arePeersInstalled = existsSync(join(root, "bench", "node_modules"));
  const complaints = output.split("\n").filter((line) => line !== "");
  // The further lines of an error are indented.
  let isLeftOut = false;
  const shown = complaints.filter((line) => {
    if (!/^\s/.test(line)) isLeftOut = !arePeersInstalled && line.startsWith(peers);
    return !isLeftOut;
  });
  for (const line of shown) console.error(line);
  return shown.length === 0 && (code === 0 || complaints.length > 0) ? 0 : 1;
});
