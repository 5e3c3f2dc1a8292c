/** Starting Node programs to measure. */

import { type ChildProcess, fork } from "node:child_process";

/** How programs are started. */
export interface Launch {
  /** Further options for Node, such as `--expose-gc`. */
  readonly execArgv?: readonly string[];
  /** Where each writes a CPU profile, if at all. */
  readonly profileFolder: string | undefined;
  /** Aborted: they are killed. */
  readonly signal: AbortSignal;
  /** The folder of the programs: those of the benchmark beside another build of confluo. Default: the ones here. */
  readonly programs?: URL;
  /** The path of the Node that runs them. Default: the one that runs this. */
  readonly node?: string;
}

let launched = 0;

/** @param name for the profile's file. */
export function launchNode(
  program: URL,
  name: string,
  launch: Launch,
  args: readonly string[] = [],
): ChildProcess {
  const { execArgv = [], profileFolder, signal, node = process.execPath } = launch;
  launched += 1;
  const child = fork(program, args, {
    execPath: node,
    execArgv: [...execArgv, ...profiling(profileFolder, `${launched} ${name}`)],
    serialization: "advanced",
    stdio: ["ignore", "ignore", "pipe", "ipc"],
    // Ctrl-C in the terminal must reach who measures, not the programs under it: they end with its channel.
    detached: true,
  });
  const kill = (): void => void child.kill("SIGKILL");
  signal.addEventListener("abort", kill);
  child.once("exit", () => signal.removeEventListener("abort", kill));
  if (signal.aborted) kill();
  return child;
}

function profiling(folder: string | undefined, name: string): readonly string[] {
  if (folder === undefined) return [];
  const file = `${name.replace(/[^a-z0-9]+/gi, "-")}.cpuprofile`;
  return ["--cpu-prof", `--cpu-prof-dir=${folder}`, `--cpu-prof-name=${file}`];
}
