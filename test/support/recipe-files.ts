/** The files and outputs that `docs/recipes.md` shows, by recipe. */

import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dirname, "..", "..");

/** What one heading of the page shows. */
export interface Recipe {
  readonly text: string;
  /** Contents by name, of the blocks under `<!-- file: NAME -->`. */
  readonly files: ReadonlyMap<string, string>;
  /** Blocks of shell commands, in their order. */
  readonly commands: readonly string[];
  /** Blocks of what is printed, in their order. */
  readonly outputs: readonly string[];
}

/** @throws if there is no such heading, or if a file is shown twice. */
export function readRecipe(heading: string): Recipe {
  const page = readFileSync(join(root, "docs", "recipes.md"), "utf8");
  const text = page.split(/^## /m).find((part) => part.startsWith(`${heading}\n`));
  if (text === undefined) throw new Error(`docs/recipes.md has no recipe ${JSON.stringify(heading)}.`);
  const files = new Map<string, string>();
  for (const [, name = "", content = ""] of text.matchAll(
    /^<!-- file: (\S+) -->\n```\w+\n([\s\S]*?)^```$/gm,
  )) {
    if (files.has(name)) throw new Error(`The recipe ${JSON.stringify(heading)} shows ${name} twice.`);
    files.set(name, content);
  }
  const blocks = (language: string): readonly string[] =>
    [...text.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].flatMap(([, is, content = ""]) =>
      is === language ? [content] : [],
    );
  return { text, files, commands: blocks("sh"), outputs: blocks("console") };
}

/** A folder with the files of a recipe and the packages that they import, confluo as it was built. */
export class RecipeFolder {
  readonly path = mkdtempSync(join(tmpdir(), "confluo-recipe-"));

  constructor({ files }: Recipe, packages: readonly string[] = []) {
    for (const [name, content] of files) writeFileSync(join(this.path, name), content);
    writeFileSync(join(this.path, "package.json"), '{ "type": "module" }');
    const modules = join(this.path, "node_modules");
    mkdirSync(join(modules, ".bin"), { recursive: true });
    symlinkSync(root, join(modules, "confluo"), "junction");
    symlinkSync(join(root, "dist", "cli", "main.js"), join(modules, ".bin", "confluo"));
    for (const name of packages)
      symlinkSync(join(root, "node_modules", name), join(modules, name), "junction");
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
