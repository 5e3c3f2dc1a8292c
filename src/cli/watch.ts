/** Redraws an output repeatedly. */

import { setTimeout as wait } from "node:timers/promises";
import { type Terminal, writeLine } from "./terminal.ts";

const EVERY_MS = 2_000;

/** Draws every two seconds until the command is interrupted. On a terminal, each output replaces the one before. */
export async function watch(
  { stdout, signal }: Terminal,
  draw: () => Promise<readonly string[]>,
): Promise<void> {
  while (!signal.aborted) {
    const lines = await draw();
    if (stdout.isTTY) stdout.write("\u001b[H\u001b[2J");
    for (const line of lines) writeLine(stdout, line);
    await wait(EVERY_MS, undefined, { signal }).catch(() => undefined);
  }
}
