/** Prints the time that importing the built package takes: the median of nine new processes. */

import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "./build.mjs";
import { root, runScript } from "./child-process.mjs";
import { ensureInstalled } from "./install.mjs";

const entries = { confluo: "index.js", "confluo/contract": "contract/index.js" };

await runScript(async () => {
  await ensureInstalled();
  await build();
  for (const [name, file] of Object.entries(entries)) {
    const url = pathToFileURL(join(root, "dist", file));
    const times = Array.from({ length: 9 }, () => measure(url)).sort((a, b) => a - b);
    console.log(`import "${name}": ${times[4]} ms (${times[0]} to ${times[8]})`);
  }
});

/** @param {URL} url */
function measure(url) {
  const code = `const startedAt = performance.now();
    await import(${JSON.stringify(url.href)});
    console.log((performance.now() - startedAt).toFixed(1));`;
  return Number(
    execFileSync(process.execPath, ["--input-type=module", "--eval", code], { encoding: "utf8" }),
  );
}
