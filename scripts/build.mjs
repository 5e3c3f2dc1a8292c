/** Builds `dist/` from `src/`. */

import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { isProgram, root, run, runScript } from "./child-process.mjs";
import { ensureInstalled } from "./install.mjs";

/**
 * Compiles into a folder of its own, then makes `dist/` equal to it file by file, each by an atomic rename. So a
 * failed build leaves `dist/` alone, two builds at a time do no harm, and nobody ever finds `dist/` missing.
 */
export async function build() {
  const cache = join(root, "node_modules", ".cache");
  mkdirSync(cache, { recursive: true });
  const fresh = mkdtempSync(join(cache, "confluo-build-"));
  try {
    const compiler = join(root, "node_modules", "typescript", "bin", "tsc");
    const args = [compiler, "-p", "tsconfig.build.json", "--noEmitOnError", "--outDir", fresh];
    const { code } = await run(process.execPath, args);
    if (code !== 0) throw new Error("The build failed: see the compiler's messages above.");
    replace(join(root, "dist"), fresh);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

/**
 * @param {string} target
 * @param {string} fresh
 */
function replace(target, fresh) {
  const files = listFiles(fresh);
  for (const file of files) {
    const from = join(fresh, file);
    const to = join(target, file);
    if (existsSync(to) && readFileSync(to).equals(readFileSync(from))) continue;
    mkdirSync(dirname(to), { recursive: true });
    renameSync(from, to);
  }
  const wanted = new Set(files);
  for (const file of listFiles(target)) {
    if (!wanted.has(file)) rmSync(join(target, file), { force: true });
  }
}

/**
 * @param {string} folder
 * @returns {string[]} paths relative to the folder
 */
function listFiles(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)));
}

if (isProgram(import.meta.filename)) {
  await runScript(async () => {
    await ensureInstalled();
    await build();
  });
}
