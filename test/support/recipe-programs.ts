/** Programs of `docs/recipes.md`, run as users run them, and what tests ask them. */

import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach } from "vitest";
import { eventually } from "../../src/testing/index.ts";
import { inheritedEnv } from "./consumer.ts";
import { Program } from "./program.ts";
import { deleteNamespace } from "./rabbitmq.ts";
import type { Recipe } from "./recipe-page.ts";

const root = join(import.meta.dirname, "..", "..");
const state = mkdtempSync(join(tmpdir(), "confluo-state-"));
const cleanUp: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

afterAll(() => rmSync(state, { recursive: true, force: true }));

/** Does this at the end of the test, before what was asked for earlier. */
export function atTheEnd(step: () => unknown): void {
  cleanUp.push(step);
}

/** Environment variables. */
export type Env = Readonly<Record<string, string | undefined>>;

/** A folder with the files of a recipe. */
export interface RecipeFolder {
  readonly path: string;
}

/** Lays out the files of a recipe with the packages that they import, confluo as it was built. Removed at the end of the test. */
export function folderOf({ files }: Recipe, packages: readonly string[] = []): RecipeFolder {
  const path = mkdtempSync(join(tmpdir(), "confluo-recipe-"));
  atTheEnd(() => rmSync(path, { recursive: true, force: true }));
  for (const [name, content] of files) writeFileSync(join(path, name), content);
  writeFileSync(join(path, "package.json"), '{ "type": "module" }');
  const modules = join(path, "node_modules");
  mkdirSync(join(modules, ".bin"), { recursive: true });
  symlinkSync(root, join(modules, "confluo"), "junction");
  symlinkSync(join(root, "dist", "cli", "main.js"), join(modules, ".bin", "confluo"));
  for (const name of packages) symlinkSync(join(root, "node_modules", name), join(modules, name), "junction");
  return { path };
}

/**
 * Starts a program in the folder of a recipe. It is killed at the end of the test, if it has not ended.
 *
 * @param args `node` with a file, or a program in the folder.
 */
export function start({ path }: RecipeFolder, args: readonly string[], env: Env): Program {
  const [first = "", ...rest] = args;
  const file = first === "node" ? rest : [join(path, first), ...rest];
  const program = new Program(file, { cwd: path, env: { ...inheritedEnv(), XDG_STATE_HOME: state, ...env } });
  atTheEnd(() => program.kill());
  return program;
}

/** Runs a program to its end, and resolves with what it printed. */
export async function finished(folder: RecipeFolder, args: readonly string[], env: Env): Promise<string> {
  const program = start(folder, args, env);
  const code = await program.exit;
  if (code !== 0)
    throw new Error(`${args.join(" ")} ended with ${code}:\n${program.output}${program.errors}`);
  return program.output;
}

/** The command line of confluo, as it is installed in the folder. */
export const confluo = "node_modules/.bin/confluo";

/** Returns a port that nobody listens at. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** The status of the answer to a GET. */
export async function statusOf(url: string): Promise<number | "no answer"> {
  return fetch(url).then(
    ({ status }) => status,
    () => "no answer",
  );
}

/** Resolves when a GET is answered with that status. */
export async function answersWith(url: string, status: number): Promise<void> {
  await eventually(async () => (await statusOf(url)) === status, `${status} at ${url}`, {
    timeoutMs: 30_000,
  });
}

/** Returns the name of a namespace that is removed at the end of the test, with the services that are named. */
export function freshNamespace(...services: string[]): string {
  const namespace = `t${randomBytes(6).toString("hex")}`;
  atTheEnd(() => deleteNamespace(namespace, services));
  return namespace;
}
