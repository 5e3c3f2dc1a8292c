/** A NATS server of our own, for the variants that need one. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

export interface NatsServer {
  /** Belongs into `CONFLUO_BENCH_NATS` of the programs that need it. */
  readonly url: string;
  /** Resolves once it has ended. */
  stop(): Promise<void>;
}

/** Where Debian puts it, which is not on everyone's `PATH`. */
const FOLDER = "/usr/sbin";
const START_MS = 10_000;
const STOP_MS = 5_000;

/**
 * Starts `nats-server` on a free port of this machine. It ends with this process at the latest.
 * @returns nothing where the program is not installed.
 * @throws when it is installed, yet does not start.
 */
export async function startNats(): Promise<NatsServer | undefined> {
  const server = spawn("nats-server", ["--addr", "127.0.0.1", "--port", "-1"], {
    env: { ...process.env, PATH: `${process.env.PATH ?? ""}:${FOLDER}` },
    stdio: ["ignore", "ignore", "pipe"],
  });
  try {
    await once(server, "spawn");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  const kill = (): void => void server.kill("SIGKILL");
  process.once("exit", kill);
  const exited = once(server, "exit").finally(() => process.off("exit", kill));
  const timer = setTimeout(kill, START_MS);
  try {
    const url = await listening(createInterface({ input: server.stderr }));
    return {
      url,
      stop: async () => {
        const timer = setTimeout(kill, STOP_MS);
        server.kill("SIGTERM");
        await exited;
        clearTimeout(timer);
      },
    };
  } finally {
    clearTimeout(timer);
  }
}

/** Reads on when it is done: a server that cannot log any more would stand still. */
function listening(lines: NodeJS.EventEmitter): Promise<string> {
  return new Promise((resolve, reject) => {
    let logged = "";
    lines.on("line", (line: string) => {
      logged = `${logged}${line}\n`.slice(-2_000);
      const address = /Listening for client connections on (\S+)/.exec(line)?.[1];
      if (address !== undefined) resolve(`nats://${address}`);
    });
    lines.once("close", () => reject(new Error(`nats-server does not start. It wrote: ${logged}`)));
  });
}
