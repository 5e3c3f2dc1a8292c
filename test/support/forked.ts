/** Services in processes of their own, which run the sources as they are. */

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

const root = join(import.meta.dirname, "..", "..");

/** Starts a program of `test/processes` and waits until it says that it is ready. `imports` are run before it. */
export async function startProcess(
  program: string,
  args: readonly string[],
  imports: readonly string[] = [],
): Promise<ChildProcess> {
  const folder = join(root, "test", "processes");
  const before = imports.flatMap((name) => ["--import", join(folder, name)]);
  const child = fork(join(folder, program), args, {
    cwd: root,
    execArgv: ["--import", "tsx", ...before],
    env: { ...process.env, TSX_DISABLE_CACHE: "1" },
  });
  await once(child, "message");
  return child;
}

/** Asks a process to stop, and tells how it ended. */
export async function terminate(child: ChildProcess): Promise<number | NodeJS.Signals | null> {
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  const [code, signal] = (await ended) as [number | null, NodeJS.Signals | null];
  return signal ?? code;
}
