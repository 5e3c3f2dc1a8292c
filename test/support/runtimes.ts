/** What the package runs in besides Node: the packages of `test/runtimes`. */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { ensureInstalled } from "../../scripts/install.mjs";

const folder = join(import.meta.dirname, "..", "runtimes");
const manifest = join(folder, "package.json");

/** The versions that `test/runtimes/package.json` names. */
export const versions: Readonly<Record<"bun" | "deno" | "jest" | "webpack", string>> = JSON.parse(
  readFileSync(manifest, "utf8"),
).dependencies;

/** Requires a module from there. */
export const requireRuntime = createRequire(manifest);

/** Installs what is missing or differs from the lock file. */
export async function installRuntimes(): Promise<void> {
  try {
    await ensureInstalled({ folder });
  } catch (cause) {
    const what = "Bun, Deno, webpack and Jest, which the package is tested with, could not be installed";
    throw new Error(`${what}. npm has said why: mend it and run \`npm ci --prefix test/runtimes\`.`, {
      cause,
    });
  }
}

/** Each platform has a package of its own with the program, of which npm installs the fitting one. */
const programs = {
  bun: { scope: "@oven", inside: "bin" },
  deno: { scope: "@deno", inside: "" },
} as const;

/** The program of a runtime, as it was installed. */
export function findRuntime(name: keyof typeof programs): string {
  const { scope, inside } = programs[name];
  const file = process.platform === "win32" ? `${name}.exe` : name;
  const packages = join(folder, "node_modules", scope);
  const candidates = existsSync(packages) ? readdirSync(packages) : [];
  const found = candidates.map((each) => join(packages, each, inside, file)).find(existsSync);
  if (found !== undefined) return found;
  throw new Error(
    `No ${name} for ${process.platform}-${process.arch} in ${packages}: run \`npm ci --prefix test/runtimes\`. ` +
      "If it is not made for this platform, run the tests on another.",
  );
}
