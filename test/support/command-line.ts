/** The command `confluo`, run as a user runs it. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll } from "vitest";

const root = join(import.meta.dirname, "..", "..");
const main = join(root, "dist", "cli", "main.js");

/** Where commands keep what they saw: for the tests of a file together, and never in the home of whoever runs them. */
const state = mkdtempSync(join(tmpdir(), "confluo-state-"));

afterAll(() => rmSync(state, { recursive: true, force: true }));

/** What a command left behind. */
export interface Finished {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Starts it as it was built, with nothing of this process's own settings for it. */
export function startCommand(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): ChildProcess {
  const isOwn = ([name]: readonly [string, unknown]): boolean =>
    name.startsWith("CONFLUO_") || ["FORCE_COLOR", "NO_COLOR"].includes(name);
  const inherited = Object.fromEntries(Object.entries(process.env).filter((each) => !isOwn(each)));
  return spawn(process.execPath, [main, ...args], {
    cwd: root,
    env: { ...inherited, XDG_STATE_HOME: state, ...env },
  });
}

/** Runs it to its end, with a text on its standard input. */
export async function runCommand(
  args: readonly string[],
  { env = {}, input = "" }: { readonly env?: Readonly<Record<string, string>>; readonly input?: string } = {},
): Promise<Finished> {
  const child = startCommand(args, env);
  child.stdin?.end(input);
  const [out, err, [code]] = await Promise.all([
    text(child.stdout as NodeJS.ReadableStream),
    text(child.stderr as NodeJS.ReadableStream),
    once(child, "exit") as Promise<[number | null]>,
  ]);
  return { code, out, err };
}
