/** A program that measures by itself, in a process of its own, and sends its figures. */

import { type Launch, launchNode } from "../launch.ts";
import type { Figures } from "../subject.ts";

/**
 * @param name of the file in `programs/`.
 * @param args for the program.
 */
export function runFiguresProgram(
  name: string,
  launch: Launch,
  args: readonly string[] = [],
): Promise<Figures> {
  return new Promise((resolve, reject) => {
    const child = launchNode(new URL(`./programs/${name}.js`, import.meta.url), name, launch, args);
    let figures: Figures | undefined;
    let errors = "";
    child.stderr?.on("data", (chunk: Buffer) => {
      errors = (errors + String(chunk)).slice(-2_000);
    });
    child.once("message", (message: Figures) => {
      figures = message;
      // It ends with the channel, as the programs under a load do.
      if (child.connected) child.disconnect();
    });
    child.once("error", reject);
    child.once("exit", (code, signal) => {
      if (figures === undefined) reject(new Error(`${name} ended with ${code ?? signal}. ${errors}`));
      else resolve(figures);
    });
  });
}
