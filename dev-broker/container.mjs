/** A throwaway server in a Docker container: a RabbitMQ, or another one for the tests. */

import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { waitForBroker } from "./amqp-greeting.mjs";
import { endOfOutput, startGuarded } from "./broker-guard.mjs";
import { findProgram } from "./programs.mjs";

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
  const { answer, stop } = await startServer(
    { image: "rabbitmq:4", port: 5672 },
    { env, log },
    async (port, signal) => {
      const url = `amqp://127.0.0.1:${port}`;
      return { url, greeting: await waitForBroker(url, { timeoutMs: startTimeoutMs, signal }) };
    },
  );
  return { ...answer, stop };
}

/**
 * @typedef {object} Contained A server in a container.
 * @property {string} image
 * @property {number} port Where it listens in there.
 * @property {readonly string[]} [options] Further options of `docker run`.
 * @property {readonly string[]} [command] Arguments of the image's program.
 */

/**
 * Starts a container and waits for the server in it. The server ends with this process, however that ends.
 * @template Answer
 * @param {Contained} contained
 * @param {{ env: NodeJS.ProcessEnv, log: (line: string) => void }} surroundings
 * @param {(port: string, ended: AbortSignal) => Promise<Answer>} waitForAnswer Gets the port on 127.0.0.1.
 * @returns {Promise<{ answer: Answer, stop: () => Promise<void> }>}
 */
export async function startServer(contained, { env, log }, waitForAnswer) {
  const { image, port, options = [], command = [] } = contained;
  await pullMissing(image, env, log);
  const folder = mkdtempSync(join(tmpdir(), "confluo-broker-"));
  const name = `confluo-test-${randomBytes(6).toString("hex")}`;
  const outputFile = join(folder, "output.log");
  const guard = startGuarded({
    command: "docker",
    // In the foreground, so that its end is noticed and its output is at hand.
    args: ["run", "--rm", "--name", name, "--publish", `127.0.0.1::${port}`, ...options, image, ...command],
    folder,
    env: /** @type {Record<string, string>} */ ({ ...env }),
    outputFile,
    afterwards: ["docker", "rm", "--force", "--volumes", name],
  });
  try {
    const published = await readPort({ name, port }, env, guard.ended);
    return { answer: await waitForAnswer(published, guard.ended), stop: guard.stop };
  } catch (cause) {
    const why = guard.ended.aborted ? `ended with ${guard.ended.reason.message}` : String(cause);
    const tail = endOfOutput(outputFile);
    await guard.stop();
    throw new Error(`The container of ${image} ${why}.\nThe end of its output:\n${tail}`, { cause });
  }
}

/**
 * @param {string} image
 * @param {NodeJS.ProcessEnv} env
 * @param {(line: string) => void} log
 */
async function pullMissing(image, env, log) {
  if ((await docker(["image", "inspect", image], env, 15_000)).failure === undefined) return;
  log(`Fetching the image ${image}.`);
  const { failure } = await docker(["pull", "--quiet", image], env, pullTimeoutMs);
  if (failure !== undefined) throw new Error(`docker pull ${image} failed: ${failure}`);
}

/**
 * @param {{ name: string, port: number }} published
 * @param {NodeJS.ProcessEnv} env
 * @param {AbortSignal} ended
 */
async function readPort({ name, port: inside }, env, ended) {
  const deadline = Date.now() + startTimeoutMs;
  while (Date.now() < deadline) {
    ended.throwIfAborted();
    const { output } = await docker(["port", name, `${inside}/tcp`], env, 5_000);
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
