/**
 * Compiles the fixtures with each supported compiler and compares what it says, and where, with what the fixtures
 * ask for: a mistake in using a contract has to be reported at its place, in words that help.
 */

import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";

interface Diagnostic {
  readonly file: string;
  /** `line:column`, both from 1. */
  readonly at: string;
  readonly message: string;
}

/** Its name, and what the compiler has to say where. */
type Mistake = readonly [title: string, expected: { readonly at: string; readonly says: RegExp }];

const fixtures = fileURLToPath(new URL("./fixtures/", import.meta.url));
const root = new URL("../../", import.meta.url);
const compilers = [
  ["TypeScript 7", "node_modules/typescript/bin/tsc"],
  ["TypeScript 5.9", "node_modules/typescript-5.9/bin/tsc"],
] as const;
const mistakes = readMistakes(readFileSync(`${fixtures}mistakes.ts`, "utf8"));

describe.each(compilers)("%s", (_name, compiler) => {
  let diagnostics: readonly Diagnostic[] = [];

  beforeAll(async () => {
    diagnostics = await compile(fileURLToPath(new URL(compiler, root)));
  }, 60_000);

  it("accepts what is right", () => {
    expect(diagnostics.filter(({ file }) => file !== "mistakes.ts")).toEqual([]);
  });

  it.each(mistakes)("points at %s and says what is wrong", (_title, { at, says }) => {
    const found = diagnostics.filter(
      (diagnostic) => diagnostic.file === "mistakes.ts" && diagnostic.at === at,
    );
    expect(found.map(({ message }) => message)).toEqual([expect.stringMatching(says)]);
  });

  it("reports nothing but the mistakes", () => {
    const places = diagnostics.filter(({ file }) => file === "mistakes.ts").map(({ at }) => at);
    expect(places).toEqual(mistakes.map(([, { at }]) => at));
  });
});

/** Runs a compiler on the fixtures; what it says about other files is the affair of the main run. */
function compile(compiler: string): Promise<readonly Diagnostic[]> {
  return new Promise((resolve, reject) => {
    const args = [compiler, "--noEmit", "--pretty", "false", "-p", "tsconfig.json"];
    execFile(process.execPath, args, { cwd: fixtures, timeout: 60_000 }, (error, stdout, stderr) => {
      // Errors in the fixtures make the compiler exit with 1 or 2; anything else is a failure to run it.
      if (error !== null && error.code !== 1 && error.code !== 2) return reject(error);
      const diagnostics = readDiagnostics(stdout);
      if (diagnostics.length === 0) return reject(new Error(`The compiler said only: ${stdout}${stderr}`));
      resolve(diagnostics.filter(({ file }) => !file.includes("/")));
    });
  });
}

function readDiagnostics(output: string): readonly Diagnostic[] {
  const diagnostics: Diagnostic[] = [];
  for (const line of output.split(/\r?\n/)) {
    const [, file, row, column, message] = /^(.+)\((\d+),(\d+)\): error TS\d+: (.*)$/.exec(line) ?? [];
    const previous = diagnostics.at(-1);
    if (file !== undefined) diagnostics.push({ file, at: `${row}:${column}`, message: message ?? "" });
    else if (previous)
      diagnostics.splice(-1, 1, { ...previous, message: `${previous.message} ${line.trim()}` });
  }
  return diagnostics;
}

/** Reads the comments of the fixture: a title, the code, and under it a caret with a regular expression. */
function readMistakes(source: string): readonly Mistake[] {
  const found: Mistake[] = [];
  let title = "";
  for (const [index, line] of source.split("\n").entries()) {
    const [, indent, caret, text] = /^(\s+\/\/)( *\^)? (.*)$/.exec(line) ?? [];
    if (indent === undefined || text === undefined) continue;
    if (caret === undefined) title = text;
    // The caret's line is one below the code, so its index counted from 0 is the code's counted from 1.
    else found.push([title, { at: `${index}:${indent.length + caret.length}`, says: new RegExp(text) }]);
  }
  return found;
}
