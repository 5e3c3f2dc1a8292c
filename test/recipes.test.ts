/** The recipes of `docs/recipes.md`, run as a reader runs them. Those with HTTP or a database have files of their own. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readRecipes } from "./support/recipe-page.ts";

const root = join(import.meta.dirname, "..");

describe("docs/recipes.md", () => {
  const titles = readRecipes().map(({ title }) => title);

  it("has a test for every recipe, which names it", () => {
    const tests = readdirSync(import.meta.dirname)
      .filter((file) => /^recipes.*\.test\.ts$/.test(file))
      .map((file) => readFileSync(join(import.meta.dirname, file), "utf8"))
      .join("\n");
    expect(titles.length).toBeGreaterThan(0);
    expect(titles.filter((title) => !tests.includes(`"${title}"`))).toEqual([]);
  });

  it("lists every recipe in its table of contents, in their order", () => {
    const page = readFileSync(join(root, "docs", "recipes.md"), "utf8");
    const [before = ""] = page.split(/^## /m);
    const listed = [...before.matchAll(/^- \[(.+)\]\(#[^)]*\)$/gm)].map(([, title]) => title);
    expect(listed).toEqual(titles);
  });
});
