/**
 * Builds a revision of the package in a separate folder, to compare its speed with this checkout or to exchange messages with
 * it.
 */

import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { findProgram, root, run } from "./child-process.mjs";
import { ensureInstalled } from "./install.mjs";

/**
 * @typedef {object} Revision
 * @property {string} folder The revision's files, with `node_modules` and the package built in `dist/`.
 * @property {string} commit The full name of the commit.
 * @property {() => Promise<void>} remove Deletes the folder; may be called again.
 */

/**
 * Unpacks a revision into a temporary folder and builds it there with its own build script. The folder is also deleted
 * when this process exits. Dependencies are linked from the checkout if both lock the same ones, otherwise installed.
 * @param {string} revision Any name that git resolves to a commit.
 * @param {object} [options]
 * @param {string} [options.checkout] Default: this one.
 * @param {(line: string) => void} [options.log] Called before an installation. Default: `console.log`.
 * @returns {Promise<Revision>}
 */
export async function buildRevision(revision, { checkout = root, log = console.log } = {}) {
  const commit = await resolveCommit(checkout, revision);
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "confluo-revision-")));
  const removeAtExit = () => rmSync(folder, { recursive: true, force: true });
  process.once("exit", removeAtExit);
  const remove = async () => {
    await rm(folder, { recursive: true, force: true });
    process.off("exit", removeAtExit);
  };
  try {
    await unpack(checkout, commit, folder);
    if (locksTheSame(checkout, folder)) linkDependencies(checkout, folder);
    else await ensureInstalled({ folder, log });
    await must(`Building ${revision}`, process.execPath, [join(folder, "scripts", "build.mjs")]);
    return { folder, commit, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

/**
 * @param {string} checkout
 * @param {string} revision
 * @returns {Promise<string>} the commit's full name
 */
async function resolveCommit(checkout, revision) {
  if (findProgram("git", process.env) === undefined)
    throw new Error(`Revision ${JSON.stringify(revision)} cannot be looked up: PATH leads to no git.`);
  const git = ["-C", checkout, "rev-parse"];
  const isShallow = await must("git rev-parse", "git", [...git, "--is-shallow-repository"]);
  // Git would interpret a name with a leading dash as an option; no revision has such a name.
  const name = revision.startsWith("-") ? "" : `${revision}^{commit}`;
  const { code, output } = await run("git", [...git, "--verify", "--quiet", name], { quiet: true });
  if (code === 0) return output.trim();
  const unknown = `There is no revision ${JSON.stringify(revision)} in this checkout`;
  throw new Error(
    isShallow === "true"
      ? `${unknown}, which is a shallow clone: get the whole history with git fetch --unshallow.`
      : `${unknown}: name a commit, a tag or a branch.`,
  );
}

/**
 * @param {string} checkout
 * @param {string} commit
 * @param {string} folder
 */
async function unpack(checkout, commit, folder) {
  const archive = join(folder, "revision.tar");
  const args = ["-C", checkout, "archive", "--format=tar", `--output=${archive}`, commit];
  await must("git archive", "git", args);
  await must("tar", "tar", ["-xf", archive, "-C", folder]);
  rmSync(archive);
}

/**
 * Returns whether both folders lock the same dependencies. The packages themselves may differ, for example in their versions.
 *
 * @param {string} checkout
 * @param {string} folder
 */
function locksTheSame(checkout, folder) {
  const [here, there] = [checkout, folder].map((where) => {
    const file = join(where, "package-lock.json");
    if (!existsSync(file) || !existsSync(join(checkout, "node_modules"))) return undefined;
    return { ...JSON.parse(readFileSync(file, "utf8")).packages, "": undefined };
  });
  return here !== undefined && isDeepStrictEqual(here, there);
}

/**
 * Links each package separately, so that the folder has its own `node_modules`: builds write a cache into it, and changes to it
 * do not affect the checkout.
 *
 * @param {string} checkout
 * @param {string} folder
 */
function linkDependencies(checkout, folder) {
  const from = join(checkout, "node_modules");
  const to = join(folder, "node_modules");
  mkdirSync(to);
  for (const entry of readdirSync(from)) {
    if (entry !== ".cache") symlinkSync(join(from, entry), join(to, entry), "junction");
  }
}

/**
 * Runs a program that has to succeed.
 *
 * @param {string} what Names the program in the error message.
 * @param {string} command
 * @param {readonly string[]} args
 * @returns {Promise<string>} its output
 */
async function must(what, command, args) {
  const { code, output } = await run(command, args, { quiet: true });
  if (code !== 0) throw new Error(`${what} failed with exit code ${code}.\n${output.trim()}`);
  return output.trim();
}
