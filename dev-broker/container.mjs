/** A throwaway RabbitMQ in a Docker container. */

import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { waitForBroker } from "./amqp-greeting.mjs";
import { startGuarded } from "./broker-guard.mjs";
import { findProgram } from "./programs.mjs";

const image = "rabbitmq:4";
const startTimeoutMs = 60_000;
const pullTimeoutMs = 600_000;

/**
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<string | undefined>} why Docker cannot be used; undefined when it can
 */
export async function whyNoDocker(env) {
  if (findProgram("docker", env) === undefined) return "there is no docker command";
  const { failure } = await docker(["info"], env, 15_000);
  return failure === undefined ? undefined : `docker info failed: ${failure}`;
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @param {(line: string) => void} log
 * @returns {Promise<import("./broker-guard.mjs").StartedBroker>}
 */
export async function startContainer(env, log) {
  await pullMissing(env, log);
  const folder = mkdtempSync(join(tmpdir(), "confluo-broker-"));
  const name = `confluo-test-${randomBytes(6).toString("hex")}`;
  const outputFile = join(folder, "output.log");
  const guard = startGuarded({
    command: "docker",
    // In the foreground, so that its end is noticed and its output is at hand.
    args: ["run", "--rm", "--name", name, "--publish", "127.0.0.1::5672", image],
    folder,
    env: /** @type {Record<string, string>} */ ({ ...env }),
    outputFile,
    afterwards: ["docker", "rm", "--force", "--volumes", name],
  });
  try {
    const port = await readPort(name, env, guard.ended);
    const url = `amqp://127.0.0.1:${port}`;
    const greeting = await waitForBroker(url, { timeoutMs: startTimeoutMs, signal: guard.ended });
    return { url, greeting, stop: guard.stop };
  } catch (cause) {
    const why = guard.ended.aborted ? `ended with ${guard.ended.reason.message}` : String(cause);
    const tail = readFileSync(outputFile, "utf8").trimEnd().split("\n").slice(-20).join("\n");
    await guard.stop();
    throw new Error(`The container of ${image} ${why}.\nThe end of its output:\n${tail}`, { cause });
  }
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @param {(line: string) => void} log
 */
async function pullMissing(env, log) {
  if ((await docker(["image", "inspect", image], env, 15_000)).failure === undefined) return;
  log(`Fetching the image ${image}.`);
  const { failure } = await docker(["pull", "--quiet", image], env, pullTimeoutMs);
  if (failure !== undefined) throw new Error(`docker pull ${image} failed: ${failure}`);
}

/**
 * @param {string} name
 * @param {NodeJS.ProcessEnv} env
 * @param {AbortSignal} ended
 */
async function readPort(name, env, ended) {
  const deadline = Date.now() + startTimeoutMs;
  while (Date.now() < deadline) {
    ended.throwIfAborted();
    const { output } = await docker(["port", name, "5672/tcp"], env, 5_000);
    const port = /:(\d+)\s*$/m.exec(output)?.[1];
    if (port !== undefined) return port;
    await delay(100);
  }
  throw new Error(`published no port in ${startTimeoutMs / 1000} s`);
}

/**
 * @param {readonly string[]} args
 * @param {NodeJS.ProcessEnv} env
 * @param {number} timeoutMs
 * @returns {Promise<{ output: string, failure?: string }>}
 */
function docker(args, env, timeoutMs) {
  return new Promise((resolve) => {
    execFile("docker", args, { env, timeout: timeoutMs }, (error, output, errors) => {
      if (error === null) return resolve({ output });
      const line = errors.trim().split("\n").at(-1) || error.message;
      resolve({ output, failure: error.killed === true ? `no answer in ${timeoutMs / 1000} s` : line });
    });
  });
}
