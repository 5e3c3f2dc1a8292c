/** Builds `dist/` from `src/`, and compiles other projects. */

import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";
import { isProgram, root, run, runScript } from "./child-process.mjs";
import { ensureInstalled } from "./install.mjs";

/** Builds the package. */
export async function build() {
  await compile("tsconfig.build.json", "dist", ["--noEmitOnError"]);
}

/**
 * Compiles into a new folder, then updates the target file by file, each by an atomic rename. So a failed build does not change
 * the target, two builds at the same time do no harm, and the target is never missing.
 *
 * @param {string} project A `tsconfig.json`, in the checkout.
 * @param {string} target A folder, in the checkout.
 * @param {readonly string[]} options For the compiler.
 */
export async function compile(project, target, options) {
  const cache = join(root, "node_modules", ".cache");
  mkdirSync(cache, { recursive: true });
  const fresh = mkdtempSync(join(cache, "confluo-build-"));
  try {
    const compiler = join(root, "node_modules", "typescript", "bin", "tsc");
    const args = [compiler, "-p", join(root, project), ...options, "--outDir", fresh];
    const { code } = await run(process.execPath, args);
    if (code !== 0) throw new Error("The build failed: see the compiler's messages above.");
    for (const file of listFiles(fresh)) if (file.endsWith(".d.ts")) removeBrand(join(fresh, file));
    replace(join(root, target), fresh);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

/**
 * Removes `#private` from the classes in a file of declarations. With it, only the class itself would fit the type: not the
 * same class from another copy or release of the package, which works at run time, and no fake in a test.
 *
 * @param {string} file
 */
function removeBrand(file) {
  const text = readFileSync(file, "utf8");
  const open = text.replaceAll(/^ +#private;\n/gm, "");
  if (open !== text) writeFileSync(file, open);
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
