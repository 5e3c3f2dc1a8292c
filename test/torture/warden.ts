/**
 * A process that sees to it that nothing is left: once the process that started it is gone or has disconnected, it
 * kills the processes it was told of, paused ones too, runs a last command and removes the folder.
 */

import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

export type WardenMessage =
  | { readonly folder: string }
  /** For the shell. */
  | { readonly afterwards: string }
  | { readonly started: number }
  | { readonly ended: number };

const alive = new Set<number>();
let folder: string | undefined;
let afterwards: string | undefined;

for (const signal of ["SIGINT", "SIGHUP", "SIGTERM"]) process.on(signal, () => undefined);

process.on("message", (message: WardenMessage) => {
  if ("folder" in message) folder = message.folder;
  else if ("afterwards" in message) afterwards = message.afterwards;
  else if ("started" in message) alive.add(message.started);
  else alive.delete(message.ended);
});

process.once("disconnect", async () => {
  while (alive.size > 0) {
    for (const pid of alive) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        alive.delete(pid);
      }
    }
    await sleep(20);
  }
  if (afterwards !== undefined) spawnSync("sh", ["-c", afterwards], { stdio: "ignore", timeout: 30_000 });
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  process.exit();
});
