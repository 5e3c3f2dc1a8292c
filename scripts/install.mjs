/** Installs the dependencies if they are missing or differ from `package-lock.json`. */

import { existsSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { isProgram, root, run, runScript } from "./child-process.mjs";

/**
 * @typedef {{ version?: string, integrity?: string, optional?: boolean, link?: boolean }} LockedPackage
 * @typedef {Record<string, LockedPackage>} LockedPackages
 */

/**
 * Updates a folder's `node_modules` to match its `package-lock.json`. Logs one line if there is something to install.
 *
 * @param {object} [options]
 * @param {string} [options.folder] Default: the checkout's.
 * @param {(line: string) => void} [options.log] Default: `console.log`.
 */
export async function ensureInstalled({ folder = root, log = console.log } = {}) {
  requireNode(20, 19);
  const reason = whyInstall(folder);
  if (reason === undefined) return;
  const command = existsSync(join(folder, "package-lock.json")) ? "ci" : "install";
  const where = folder === root ? "" : ` in ${relative(root, folder)}/`;
  log(`Installing dependencies${where} with npm ${command}: ${reason}.`);
  // With NODE_ENV=production, npm would omit packages that the tests need.
  const options = [`--prefix=${folder}`, "--include=dev", "--no-audit", "--no-fund", "--loglevel=error"];
  let { code, output } = await runNpm([command, ...options, "--prefer-offline"]);
  // The cache may not know the locked version yet.
  if (code !== 0 && output.includes("ETARGET")) ({ code, output } = await runNpm([command, ...options]));
  if (code === 0) return;
  console.error(output);
  throw new Error(`npm ${command} failed with exit code ${code}.`);
}

/** @param {readonly string[]} args */
function runNpm(args) {
  const npm = process.env.npm_execpath;
  const started = npm?.endsWith("npm-cli.js") === true;
  return started ? run(process.execPath, [npm, ...args], { quiet: true }) : run("npm", args, { quiet: true });
}

/**
 * @param {string} folder
 * @returns {string | undefined} what is wrong with its `node_modules`, if anything is.
 */
function whyInstall(folder) {
  const wanted = readPackages(join(folder, "package-lock.json"));
  // npm's own record of the packages that `npm ci` or `npm install` has installed.
  const installed = readPackages(join(folder, "node_modules", ".package-lock.json"));
  if (installed === undefined) return "they are missing";
  if (wanted === undefined) return undefined;
  for (const [path, locked] of Object.entries(wanted)) {
    if (path === "" || locked.link === true) continue;
    const found = installed[path];
    // Optional packages for other platforms are in the lock file but not installed.
    if (found === undefined && locked.optional === true) continue;
    if (found?.version !== locked.version || found?.integrity !== locked.integrity) {
      return `package-lock.json asks for ${path.replace("node_modules/", "")} ${locked.version}`;
    }
    if (!existsSync(join(folder, path))) return `${path} is missing`;
  }
  return undefined;
}

/**
 * @param {string} file
 * @returns {LockedPackages | undefined}
 */
function readPackages(file) {
  if (!existsSync(file)) return undefined;
  return JSON.parse(readFileSync(file, "utf8")).packages;
}

/**
 * @param {number} major
 * @param {number} minor
 */
function requireNode(major, minor) {
  const [hasMajor = 0, hasMinor = 0] = process.versions.node.split(".").map(Number);
  if (hasMajor > major || (hasMajor === major && hasMinor >= minor)) return;
  throw new Error(
    `Node ${process.versions.node} is too old for confluo: it needs ${major}.${minor} or later.`,
  );
}

if (isProgram(import.meta.filename)) await runScript(() => ensureInstalled());
