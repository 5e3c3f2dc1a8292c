/**
 * A throwaway RabbitMQ for development and tests: a private node of an installed one, else a Docker container. Nothing is
 * installed for it, and no broker that was not started here is touched.
 */

import { startContainer, whyNoDocker } from "./container.mjs";
import { findRabbitMQ, startPrivateNode } from "./private-node.mjs";

/**
 * It ends with this process, however that ends.
 * @param {object} [options]
 * @param {NodeJS.ProcessEnv} [options.env] Default: this process's.
 * @param {(line: string) => void} [options.log] Told about what takes long.
 */
export async function startDevBroker({ env = process.env, log = console.error } = {}) {
  const installed = findRabbitMQ(env);
  if (installed !== undefined) {
    const { url, greeting, stop } = await startPrivateNode(installed, env);
    return { url, version: greeting.version, kind: "private-node", stop };
  }
  const noDocker = await whyNoDocker(env);
  if (noDocker === undefined) {
    const { url, greeting, stop } = await startContainer(env, log);
    return { url, version: greeting.version, kind: "container", stop };
  }
  throw new Error(
    "There is no RabbitMQ to start. Install it (Debian: apt-get install rabbitmq-server, macOS: brew install rabbitmq; " +
      `it need not run), or start Docker (now: ${noDocker}).`,
  );
}
