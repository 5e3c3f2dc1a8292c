/** Which programs there are, and which one this is. */

import { constants as access, accessSync, realpathSync } from "node:fs";
import { delimiter, join } from "node:path";

/**
 * Whether a module is the program that was started, not one that was imported.
 * @param {string} filename `import.meta.filename` of the module that asks.
 */
export function isProgram(filename) {
  return process.argv[1] !== undefined && realpathSync(process.argv[1]) === filename;
}

/**
 * @param {string} name
 * @param {NodeJS.ProcessEnv} env
 * @returns {string | undefined} where the program lies, if `PATH` leads to it
 */
export function findProgram(name, env) {
  return (env.PATH ?? "")
    .split(delimiter)
    .filter((folder) => folder !== "")
    .map((folder) => join(folder, name))
    .find(isExecutable);
}

/** @param {string} file */
export function isExecutable(file) {
  try {
    accessSync(file, access.X_OK);
    return true;
  } catch {
    return false;
  }
}
