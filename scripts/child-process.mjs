/** Runs other programs from the scripts, using only Node's own modules. */

import { spawn } from "node:child_process";
import { constants } from "node:os";
import { dirname } from "node:path";

export { findProgram, isExecutable, isProgram } from "../dev-broker/programs.mjs";

/** The checkout that this script belongs to. */
export const root = dirname(import.meta.dirname);

/**
 * Runs the work of a script. A failure is printed without a stack, because the user can fix it, and it is not a bug of the
 * script.
 *
 * @param {() => Promise<number | void>} work Resolves with an exit code, if not 0.
 */
export async function runScript(work) {
  try {
    process.exitCode = (await work()) ?? 0;
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}

/**
 * Runs a program to its end. SIGINT and SIGTERM are passed on to the program instead of ending this process, so that the caller
 * can still clean up.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @param {object} [options]
 * @param {NodeJS.ProcessEnv} [options.env] Default: this process's.
 * @param {string} [options.folder] Working directory. Default: the checkout.
 * @param {boolean} [options.quiet] Returns the output instead of printing it.
 * @param {(message: unknown) => void} [options.onMessage] For a Node program that uses `process.send`. The program also gets
 *   `disconnect` when this process is killed.
 * @returns {Promise<{ code: number, output: string }>} `code` is 128 + n after signal n, as in a shell; `output` is empty
 *   unless quiet.
 */
export function run(command, args, { env = process.env, folder = root, quiet = false, onMessage } = {}) {
  return new Promise((resolve, reject) => {
    /** @type {import("node:child_process").StdioOptions} */
    const stdio = quiet ? ["ignore", "pipe", "pipe"] : ["inherit", "inherit", "inherit"];
    if (onMessage !== undefined) stdio.push("ipc");
    const child = spawn(command, args, { cwd: folder, env, stdio });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text) => {
        output += text;
      });
    }
    if (onMessage !== undefined) child.on("message", onMessage);
    /** @param {NodeJS.Signals} signal */
    const handOn = (signal) => child.kill(signal);
    process.on("SIGINT", handOn).on("SIGTERM", handOn);
    const release = () => process.off("SIGINT", handOn).off("SIGTERM", handOn);
    child.once("error", (error) => {
      release();
      reject(error);
    });
    child.once("close", (code, signal) => {
      release();
      resolve({ code: signal === null ? (code ?? 1) : 128 + constants.signals[signal], output });
    });
  });
}
