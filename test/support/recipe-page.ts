/** The recipes of `docs/recipes.md` as data: which files a reader copies, what is typed, what is printed. */

import { readFileSync } from "node:fs";
import { join } from "node:path";

/** A section of the document, with a heading of the second level. */
export interface Recipe {
  readonly title: string;
  /** All of it, below the heading. */
  readonly text: string;
  /** Contents by name: blocks below a comment `<!-- file: NAME -->`. */
  readonly files: ReadonlyMap<string, string>;
  /** Blocks fenced `sh`, in their order. */
  readonly commands: readonly string[];
  /** Blocks fenced `console`, in their order. */
  readonly outputs: readonly string[];
}

const page = join(import.meta.dirname, "..", "..", "docs", "recipes.md");

/** Reads the document. Sections without files and commands, such as the table of contents, are no recipes. */
export function readRecipes(text: string = readFileSync(page, "utf8")): readonly Recipe[] {
  return sectionsOf(text)
    .map(({ title, body }) => ({
      title,
      text: body,
      files: filesOf(title, body),
      commands: blocksOf(body, "sh"),
      outputs: blocksOf(body, "console"),
    }))
    .filter(({ files, commands }) => files.size > 0 || commands.length > 0);
}

/** Reads one recipe. @throws if there is no such heading. */
export function readRecipe(title: string): Recipe {
  const recipe = readRecipes().find((each) => each.title === title);
  if (recipe === undefined) throw new Error(`docs/recipes.md has no recipe ${JSON.stringify(title)}.`);
  return recipe;
}

/** Splits a text at its headings of the second level, but for lines inside of fences. */
function sectionsOf(text: string): readonly { readonly title: string; readonly body: string }[] {
  const sections: { title: string; body: string }[] = [];
  let isFenced = false;
  for (const line of text.split("\n")) {
    if (line.startsWith("```")) isFenced = !isFenced;
    const title = isFenced ? undefined : /^## (.+)$/.exec(line)?.[1];
    const last = sections.at(-1);
    if (title !== undefined) sections.push({ title, body: "" });
    else if (last !== undefined) last.body += `${line}\n`;
  }
  return sections;
}

function filesOf(title: string, body: string): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  for (const [, name = "", content = ""] of body.matchAll(
    /^<!-- file: (\S+) -->\n```\w*\n([\s\S]*?)^```$/gm,
  )) {
    if (files.has(name)) throw new Error(`docs/recipes.md, ${title}: two files are named ${name}`);
    files.set(name, content);
  }
  const marked = body.match(/^<!-- file:/gm)?.length ?? 0;
  if (marked !== files.size)
    throw new Error(
      `docs/recipes.md, ${title}: ${marked} blocks are marked as files, ${files.size} can be read`,
    );
  return files;
}

function blocksOf(body: string, language: string): readonly string[] {
  const blocks = body.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "gm"));
  return [...blocks].map(([, content = ""]) => content);
}
