/** `confluo run` in other processes: in several, or in one that restarts when code changes. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { consoleLogger } from "../../index.ts";
import { addressOf } from "../broker-flags.ts";
import { EndedError, exitCodes } from "../exit-codes.ts";
import { observeProcesses } from "../services/observed-processes.ts";
import type { Terminal } from "../terminal.ts";
import { Changes } from "./changes.ts";
import { argumentsFor, type RunFlags } from "./run-flags.ts";
import { listenAddress, noMeeting, type ToldProcess } from "./run-here.ts";

/** Runs the services of some modules in several processes, until the terminal's signal aborts or one of the processes ends. */
export async function runMany(files: readonly string[], flags: RunFlags, terminal: Terminal): Promise<void> {
  if (addressOf(flags, terminal) === "memory:") throw noMeeting();
  const { instances = 1, http, ...same } = flags;
  const urls: (string | undefined)[] = Array.from({ length: instances }, () => undefined);
  // Only one process can listen on a port. So each child listens on a loopback port of its own, and this process combines their
  // answers.
  const observed = http === undefined ? undefined : await observeProcesses(listenAddress(http), () => urls);
  const each: RunFlags = { ...same, embedded: false, ...(http === undefined ? {} : { http: "127.0.0.1:0" }) };
  if (observed !== undefined)
    consoleLogger.info({ instances }, `${instances} processes, together at ${observed.url}.`);
  const children = urls.map((_, at) => {
    const child = start(files, each);
    child.on("message", (told) => {
      urls[at] = (told as Partial<ToldProcess>).confluo?.http;
    });
    return child;
  });
  let isStopping = false;
  const stop = (): void => {
    isStopping = true;
    for (const child of children) askToEnd(child);
  };
  terminal.signal.addEventListener("abort", stop, { once: true });
  if (terminal.signal.aborted) stop();
  const codes = await Promise.all(
    children.map(async (child, at) => {
      const code = await ended(child);
      urls[at] = undefined;
      // All processes end, because otherwise the remaining ones would hide that one has failed.
      if (!isStopping) {
        const how = child.signalCode === null ? `ended with ${code}` : `was ended by ${child.signalCode}`;
        consoleLogger.error(
          { pid: child.pid, code },
          `A process ${how}; the other processes are stopped, too.`,
        );
        stop();
      }
      return code;
    }),
  );
  terminal.signal.removeEventListener("abort", stop);
  await observed?.close();
  const failed = codes.find((code) => code !== 0);
  if (failed !== undefined && !terminal.signal.aborted) throw new EndedError(failed);
}

/** Runs the services of some modules, and restarts them whenever code next to the modules changes. */
export async function runWatched(
  files: readonly string[],
  flags: RunFlags,
  terminal: Terminal,
): Promise<void> {
  const { signal } = terminal;
  const changes = new Changes(files);
  try {
    while (!signal.aborted) {
      const child = start(files, flags);
      const stop = (): void => askToEnd(child);
      signal.addEventListener("abort", stop, { once: true });
      const exit = ended(child);
      const changed = changes.next();
      const why = await Promise.race([changed.then(() => "changed"), exit.then(() => "ended")]);
      if (why === "changed") stop();
      const code = await exit;
      signal.removeEventListener("abort", stop);
      if (signal.aborted) return;
      if (why === "ended") {
        consoleLogger.info({ code }, `Ended with ${code}; waiting for a change.`);
        await Promise.race([changed, once(signal, "abort")]);
      } else consoleLogger.info({}, "A file changed; restarting.");
    }
  } finally {
    changes.close();
  }
}

// Starts the same command as a child. The child is killed when this process exits before it.
function start(files: readonly string[], flags: RunFlags): ChildProcess {
  const main = process.argv[1] as string;
  const child = spawn(process.execPath, [...process.execArgv, main, ...argumentsFor(files, flags)], {
    stdio: ["inherit", "inherit", "inherit", "ipc"],
  });
  const kill = (): void => void child.kill("SIGKILL");
  process.once("exit", kill);
  child.once("exit", () => process.removeListener("exit", kill));
  return child;
}

// Sends only one signal, because a second signal would end the process before it has finished its work.
function askToEnd(child: ChildProcess): void {
  if (!child.killed) child.kill("SIGTERM");
}

async function ended(child: ChildProcess): Promise<number> {
  const [code] = (await once(child, "exit")) as [number | null];
  return code ?? exitCodes.failed;
}
