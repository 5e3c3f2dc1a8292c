/** Programs of `docs/recipes.md`, run as users run them, and what tests ask them. */

import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach } from "vitest";
import { eventually } from "../../src/testing/index.ts";
import { deleteNamespace } from "./rabbitmq.ts";
import { type Recipe, RecipeFolder } from "./recipe-files.ts";

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

/** This process's variables, less those that npm and vitest set for their own children. */
export const inherited: Env = Object.fromEntries(
  Object.entries(process.env).filter(
    ([name]) => !/^(npm_|vitest|node_env$|node_options$|force_color$|confluo_)/i.test(name),
  ),
);

/** Lays out the files of a recipe, with the packages that they import; removed at the end of the test. */
export function folderOf(recipe: Recipe, packages: readonly string[] = []): RecipeFolder {
  const folder = new RecipeFolder(recipe, packages);
  atTheEnd(() => folder.remove());
  return folder;
}

/** A program of a recipe that runs, and what it has printed. It is killed at the end of the test, if it has not ended. */
export class Program {
  out = "";
  err = "";
  /** Resolves with the exit code when everything that it printed is here. */
  readonly exit: Promise<number | null>;
  readonly #child: ChildProcess;

  /** @param args `node` with a file, or a program in the folder. */
  constructor({ path }: RecipeFolder, args: readonly string[], env: Env) {
    const [first = "", ...rest] = args;
    const file = first === "node" ? rest : [join(path, first), ...rest];
    this.#child = spawn(process.execPath, file, {
      cwd: path,
      env: { ...inherited, XDG_STATE_HOME: state, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child.stdout?.on("data", (chunk: Buffer) => {
      this.out += chunk.toString();
    });
    this.#child.stderr?.on("data", (chunk: Buffer) => {
      this.err += chunk.toString();
    });
    this.exit = new Promise((resolve) => this.#child.on("close", resolve));
    atTheEnd(async () => {
      this.#child.kill("SIGKILL");
      await this.exit;
    });
  }

  /** Resolves when it has printed this, on whichever output. */
  async says(text: string): Promise<void> {
    await eventually(() => `${this.out}${this.err}`.includes(text), text, { timeoutMs: 30_000 }).catch(
      (error: unknown) => {
        throw new Error(`${this.out}${this.err}\n${String(error)}`);
      },
    );
  }

  /** Ends it as a container is ended; resolves with its exit code. */
  async stop(): Promise<number | null> {
    this.#child.kill("SIGTERM");
    return this.exit;
  }
}

/** Runs a program to its end, and resolves with what it printed. */
export async function finished(folder: RecipeFolder, args: readonly string[], env: Env): Promise<string> {
  const program = new Program(folder, args, env);
  const code = await program.exit;
  if (code !== 0) throw new Error(`${args.join(" ")} ended with ${code}:\n${program.out}${program.err}`);
  return program.out;
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
