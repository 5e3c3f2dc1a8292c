/**
 * Finds Prometheus' `promtool`, which checks alert rules, for the tests. The first of these that works is used:
 *
 * 1. `CONFLUO_TEST_PROMTOOL` names it;
 * 2. it is installed;
 * 3. Docker runs: in a container of Prometheus' image;
 * 4. root on a Debian-like system: the package `prometheus` is installed, without starting its server.
 */

import { whyNoDocker } from "../dev-broker/container.mjs";
import { canInstallWithApt, installPackage } from "./apt.mjs";
import { findProgram, isExecutable, run } from "./child-process.mjs";

const image = "prom/prometheus:v3.5.0";

/**
 * @param {object} [options]
 * @param {NodeJS.ProcessEnv} [options.env] Default: this process's.
 * @param {(line: string) => void} [options.log] Called before something that takes long. Default: `console.log`.
 * @returns {Promise<(folder: string, args: readonly string[]) => Promise<{ code: number, output: string }>>} runs it on files
 *   of a folder, which the arguments name by relative paths. Rejects with advice if there is no promtool.
 */
export async function findPromtool({ env = process.env, log = console.log } = {}) {
  const given = env.CONFLUO_TEST_PROMTOOL;
  if (given) {
    if (!isExecutable(given)) throw new Error(`CONFLUO_TEST_PROMTOOL names ${given}, which is no program.`);
    return installed(given, env);
  }
  const present = findProgram("promtool", env);
  if (present !== undefined) return installed(present, env);
  const noDocker = await whyNoDocker(env);
  if (noDocker === undefined) return contained(env);
  if (!canInstallWithApt(env)) throw new Error(explainWays(noDocker));
  log("Installing prometheus with apt-get: there is neither promtool nor Docker.");
  await installPackage("prometheus", env).catch((cause) => {
    throw new Error(`${cause.message}\n${explainWays(noDocker)}`, { cause });
  });
  const come = findProgram("promtool", env);
  if (come === undefined) throw new Error("The package prometheus was installed, yet there is no promtool.");
  return installed(come, env);
}

/**
 * @param {string} program
 * @param {NodeJS.ProcessEnv} env
 * @returns {Awaited<ReturnType<typeof findPromtool>>}
 */
function installed(program, env) {
  return (folder, args) => run(program, args, { env, quiet: true, folder });
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @returns {Awaited<ReturnType<typeof findPromtool>>}
 */
function contained(env) {
  return (folder, args) => {
    const user = `--user=${process.getuid?.() ?? 0}:${process.getgid?.() ?? 0}`;
    const place = [`--volume=${folder}:/rules:ro`, "--workdir=/rules", "--entrypoint=promtool"];
    return run("docker", ["run", "--rm", user, ...place, image, ...args], { env, quiet: true });
  };
}

/** @param {string} noDocker */
function explainWays(noDocker) {
  return [
    "No promtool to check the alert rules with. Any one of these will do:",
    "- install Prometheus: `sudo apt-get install prometheus` (Debian, Ubuntu) or `brew install prometheus` (macOS);",
    "  its server need not run",
    "- name the program: CONFLUO_TEST_PROMTOOL=/path/to/promtool npm test",
    `- start Docker: the tests then run Prometheus' image (now: ${noDocker})`,
  ].join("\n");
}
