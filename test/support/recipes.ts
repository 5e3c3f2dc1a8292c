/** Runs the recipes of `docs/recipes.md` as a reader does: in a project that has the package and what a recipe installs. */

import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { ensureInstalled } from "../../scripts/install.mjs";
import { eventually } from "../../src/testing/index.ts";
import { inheritedEnv, packBuilt, run } from "./consumer.ts";
import { Program } from "./program.ts";
import { type Recipe, readRecipe } from "./recipe-page.ts";

const root = join(import.meta.dirname, "..", "..");
const packages = join(root, "test", "recipes");

/** Requires a module of the packages that recipes use; only after `makeRecipeProject`. */
export const requirePackage: NodeJS.Require = createRequire(join(packages, "package.json"));

/**
 * Makes a project with the package as it is packed, its dependencies as they are installed in the checkout, and the packages
 * of `test/recipes`.
 */
export async function makeRecipeProject(folder: string): Promise<void> {
  await installPackages();
  const modules = join(folder, "node_modules");
  const own = join(modules, "confluo");
  mkdirSync(own, { recursive: true });
  writeFileSync(join(folder, "package.json"), '{ "name": "recipes", "private": true, "type": "module" }');
  const { tarball } = await packBuilt(folder);
  await run(folder, "tar", ["-xzf", tarball, "--strip-components=1", "-C", own]);
  const { dependencies } = JSON.parse(readFileSync(join(own, "package.json"), "utf8"));
  const found = packageNames(join(packages, "node_modules"));
  linkPackages(modules, join(root, "node_modules"), Object.keys(dependencies));
  linkPackages(modules, join(packages, "node_modules"), found);
}

/** Test files run side by side, but npm must not install into one folder twice at the same time. */
async function installPackages(): Promise<void> {
  const lock = join(
    tmpdir(),
    `confluo-recipes-${createHash("sha256").update(packages).digest("hex").slice(0, 12)}`,
  );
  await eventually(() => takeLock(lock), "another test file to install packages", { timeoutMs: 600_000 });
  try {
    await ensureInstalled({ folder: packages });
  } catch (cause) {
    const what = "The packages that the recipes use could not be installed";
    throw new Error(`${what}. npm has said why: mend it and run \`npm ci --prefix test/recipes\`.`, {
      cause,
    });
  } finally {
    rmSync(lock, { force: true });
  }
}

function takeLock(lock: string): boolean {
  try {
    writeFileSync(lock, String(process.pid), { flag: "wx" });
    return true;
  } catch {
    // A process that was killed leaves its lock behind.
    if (existsSync(lock) && !isRunning(Number(readFileSync(lock, "utf8")))) rmSync(lock, { force: true });
    return false;
  }
}

function isRunning(pid: number): boolean {
  try {
    // 0 is no process: the file has just been made.
    return pid === 0 || process.kill(pid, 0);
  } catch {
    return false;
  }
}

function linkPackages(modules: string, from: string, names: readonly string[]): void {
  for (const name of names) {
    const link = join(modules, name);
    if (existsSync(link)) continue;
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(join(from, name), link, "junction");
  }
}

function packageNames(modules: string): readonly string[] {
  return readdirSync(modules)
    .filter((name) => !name.startsWith("."))
    .flatMap((name) =>
      name.startsWith("@") ? readdirSync(join(modules, name)).map((inner) => `${name}/${inner}`) : [name],
    );
}

/** A recipe whose files were written into a folder of the project. */
export class RecipeFolder {
  readonly recipe: Recipe;
  readonly path: string;
  readonly #env: Readonly<Record<string, string>>;
  readonly #running: Program[] = [];

  /** `env` is what its programs get beside this process's variables, less those of tests and of confluo. */
  constructor(project: string, title: string, env: Readonly<Record<string, string>>) {
    const recipe = readRecipe(title);
    this.recipe = recipe;
    this.path = join(project, title.toLowerCase().replace(/\W+/g, "-"));
    this.#env = { NO_COLOR: "1", CONFLUO_LOG: "text", ...env };
    mkdirSync(this.path);
    for (const [name, content] of recipe.files) {
      const file = join(this.path, name);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, content);
    }
  }

  /** Starts a program in the folder; Node's arguments come first, a file is enough. */
  start(args: readonly string[], env: Readonly<Record<string, string>> = {}): Program {
    const program = new Program(args, { cwd: this.path, env: { ...inheritedEnv(), ...this.#env, ...env } });
    this.#running.push(program);
    return program;
  }

  /** Runs a program to its end; resolves with what it printed, rejects if it fails. */
  async run(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> {
    const program = this.start(args, env);
    const code = await program.exit;
    if (code !== 0)
      throw new Error(`${args.join(" ")} ended with ${code}:\n${program.output}${program.errors}`);
    return program.output;
  }

  /** Ends what runs and removes the folder. */
  async remove(): Promise<void> {
    await Promise.all(this.#running.map((program) => program.kill()));
    rmSync(this.path, { recursive: true, force: true });
  }
}
