/**
 * Finds or starts a RabbitMQ broker for the tests. The first of these that works is used:
 *
 * 1. `CONFLUO_TEST_BROKER` names one (a URL, or several separated by commas);
 * 2. RabbitMQ is installed: a private node, separate from the system's own;
 * 3. Docker runs: a container;
 * 4. root on a Debian-like system: RabbitMQ is installed, then a private node is started as in 2.
 *
 * If a RabbitMQ 4 is required, the variable is `CONFLUO_TEST_BROKER4`, an installed older version is ignored, and the fourth
 * way unpacks Debian's package into a separate folder instead, because apt-get would install the system's version.
 *
 * A broker that was not started here is never stopped or changed.
 */

import { waitForBroker } from "../dev-broker/amqp-greeting.mjs";
import { startContainer, whyNoDocker } from "../dev-broker/container.mjs";
import { findRabbitMQ, readVersion, startPrivateNode } from "../dev-broker/private-node.mjs";
import { canInstallWithApt, installPackage } from "./apt.mjs";
import { findUnpackedRabbitMQ4, unpackRabbitMQ4 } from "./debian-root.mjs";

/**
 * @typedef {object} TestBroker
 * @property {string} url The given URL, or that of the broker that was started.
 * @property {string} version Such as `3.13.7`.
 * @property {string} description A readable description, one line.
 * @property {"given" | "private-node" | "container"} kind
 * @property {() => Promise<void>} stop Resolves once everything that was started here has ended; may be called again.
 * @property {import("../dev-broker/broker-guard.mjs").StartedBroker["restart"]} [restart] Only of a private node.
 * @property {import("../dev-broker/broker-guard.mjs").StartedBroker["pause"]} [pause] Only of a private node.
 * @property {import("../dev-broker/broker-guard.mjs").StartedBroker["control"]} [control] Only of a private node.
 *
 * @typedef {object} TestBrokerOptions
 * @property {NodeJS.ProcessEnv} [env] Default: this process's.
 * @property {readonly string[]} [folders] Folders, besides `PATH`, to look for RabbitMQ in. Default: the usual ones.
 * @property {(line: string) => void} [log] Called before something that takes long. Default: `console.log`.
 */

const givenTimeoutMs = 20_000;

/**
 * A broker that was started ends with this process, however the process ends, even if `stop()` was not called.
 * @param {TestBrokerOptions} [options]
 * @returns {Promise<TestBroker>}
 */
export async function startTestBroker({ env = process.env, folders, log = console.log } = {}) {
  if (env.CONFLUO_TEST_BROKER) return useGivenBroker("CONFLUO_TEST_BROKER", env.CONFLUO_TEST_BROKER);
  const installed = findRabbitMQ(env, folders);
  if (installed !== undefined) return startOwn("private-node", () => startPrivateNode(installed, env));
  const noDocker = await whyNoDocker(env);
  if (noDocker === undefined) return startOwn("container", () => startContainer(env, log));
  if (!canInstallWithApt(env)) throw new Error(explainWays(noDocker));
  log("Installing rabbitmq-server with apt-get: there is neither RabbitMQ nor Docker.");
  await installPackage("rabbitmq-server", env);
  const script = findRabbitMQ(env, folders);
  if (script === undefined)
    throw new Error("The package rabbitmq-server was installed, yet its start script is missing.");
  return startOwn("private-node", () => startPrivateNode(script, env));
}

/**
 * Works like `startTestBroker`, but requires RabbitMQ 4.
 * @param {TestBrokerOptions} [options]
 * @returns {Promise<TestBroker>}
 */
export async function startTestBroker4(options) {
  const broker = await startSome4(options);
  if (isVersion4(broker.version)) return broker;
  await broker.stop();
  throw new Error(`RabbitMQ 4 is wanted, and this is another: ${broker.description}`);
}

/**
 * @param {TestBrokerOptions} [options]
 * @returns {Promise<TestBroker>} its version is not checked yet
 */
async function startSome4({ env = process.env, folders, log = console.log } = {}) {
  if (env.CONFLUO_TEST_BROKER4) return useGivenBroker("CONFLUO_TEST_BROKER4", env.CONFLUO_TEST_BROKER4);
  const installed = findRabbitMQ(env, folders);
  const version = installed === undefined ? undefined : readVersion(installed);
  if (installed !== undefined && isVersion4(version))
    return startOwn("private-node", () => startPrivateNode(installed, env));
  const noDocker = await whyNoDocker(env);
  if (noDocker === undefined) return startOwn("container", () => startContainer(env, log));
  if (!canInstallWithApt(env)) throw new Error(explainWays4(noDocker, version));
  const { root, script } = await unpackRabbitMQ4(env, log);
  return startOwn("private-node", () => startPrivateNode(script, env, { root }));
}

/**
 * Starts a private node for a test that needs one, whatever broker the other tests use: of that broker's major version if
 * possible, else of the installed RabbitMQ.
 * @param {TestBrokerOptions & { version: string, settings?: import("../dev-broker/private-node.mjs").NodeOptions["settings"] }} options
 * @returns {Promise<TestBroker>} Rejects with the reason if there is none.
 */
export async function startOwnNode({
  version,
  settings = {},
  env = process.env,
  folders,
  log = console.log,
}) {
  const installed = findRabbitMQ(env, folders);
  const present = installed === undefined ? undefined : readVersion(installed);
  if (isVersion4(version) && !isVersion4(present) && canInstallWithApt(env)) {
    const { root, script } = await unpackRabbitMQ4(env, log);
    return startOwn("private-node", () => startPrivateNode(script, env, { root, settings }));
  }
  if (installed === undefined)
    throw new Error("no RabbitMQ is installed to start a node of one's own with (apt-get, brew)");
  return startOwn("private-node", () => startPrivateNode(installed, env, { settings }));
}

/**
 * Returns a function that starts private nodes beside the broker under test, of the same version: RabbitMQ 4, or an older one.
 * Nothing is installed or unpacked for that.
 * @param {string} url The URL of the broker under test, or several separated by commas.
 * @param {TestBrokerOptions} [options]
 * @returns {Promise<((extras: import("../dev-broker/private-node.mjs").NodeExtras) => ReturnType<typeof startPrivateNode>) | string>}
 *   a string with the reason if that is not possible
 */
export async function findNodeStarter(url, { env = process.env, folders } = {}) {
  const [first = url] = url.split(",");
  const { version } = await waitForBroker(first.trim(), { timeoutMs: givenTimeoutMs });
  const installed = findRabbitMQ(env, folders);
  if (installed !== undefined && isVersion4(readVersion(installed)) === isVersion4(version))
    return (extras) => startPrivateNode(installed, env, extras);
  const unpacked = isVersion4(version) && process.getuid?.() === 0 ? findUnpackedRabbitMQ4(env) : undefined;
  if (unpacked !== undefined)
    return (extras) => startPrivateNode(unpacked.script, env, { ...extras, root: unpacked.root });
  const other = installed === undefined ? "none is" : `only ${readVersion(installed) ?? "an unknown one"} is`;
  return `RabbitMQ ${version} is under test, and to start a node of it, it has to be installed: ${other}`;
}

/** @param {string | undefined} version */
function isVersion4(version) {
  return version?.startsWith("4.") === true;
}

/**
 * Waits until a running broker answers, and returns it.
 * @param {string} variable The variable or option that gave its URL.
 * @param {string} given
 * @returns {Promise<TestBroker>}
 */
export async function useGivenBroker(variable, given) {
  const urls = given.split(",").map((url) => url.trim());
  for (const url of urls) {
    if (/^amqps?:$/.test(URL.canParse(url) ? new URL(url).protocol : "")) continue;
    throw new Error(`${variable} holds ${JSON.stringify(url)}: expected an amqp:// or amqps:// URL.`);
  }
  const settled = new AbortController();
  try {
    const { product, version } = await Promise.any(
      urls.map((url) => waitForBroker(url, { timeoutMs: givenTimeoutMs, signal: settled.signal })),
    );
    const shown = urls.map(hideCredentials).join(",");
    return {
      url: given,
      version,
      description: `${product} ${version}, given by ${variable}, ${shown}`,
      kind: "given",
      stop: async () => undefined,
    };
  } catch (cause) {
    const reasons = cause instanceof AggregateError ? cause.errors.map(String).join("; ") : String(cause);
    const shown = urls.map(hideCredentials).join(",");
    throw new Error(`${variable} names ${shown}, where no broker answered in 20 s: ${reasons}`, {
      cause,
    });
  } finally {
    settled.abort();
  }
}

/**
 * @param {"private-node" | "container"} kind
 * @param {() => Promise<import("../dev-broker/broker-guard.mjs").StartedBroker>} start
 * @returns {Promise<TestBroker>}
 */
async function startOwn(kind, start) {
  const startedAt = performance.now();
  const { url, greeting, stop, restart, pause, control } = await start();
  const { product, version } = greeting;
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  const noun = kind === "container" ? "Docker container" : "private node";
  const description = `${product} ${version}, ${noun}, ${url}, started in ${seconds} s`;
  return { url, version, description, kind, stop, restart, pause, control };
}

/** @param {string} address */
function hideCredentials(address) {
  const url = new URL(address);
  url.username = "";
  url.password = "";
  return url.href;
}

/** @param {string} noDocker */
function explainWays(noDocker) {
  return [
    "No RabbitMQ broker to test against. Any one of these will do:",
    "- name one that runs: CONFLUO_TEST_BROKER=amqp://guest:guest@localhost:5672 npm test",
    "- install RabbitMQ: `sudo apt-get install rabbitmq-server` (Debian, Ubuntu) or `brew install rabbitmq` (macOS);",
    "  it need not run, the tests start a private node of it",
    `- start Docker: the tests then start a container (now: ${noDocker})`,
    "Tests that need no broker: npm run test:unit",
  ].join("\n");
}

/**
 * @param {string} noDocker
 * @param {string | undefined} installed The version.
 */
function explainWays4(noDocker, installed) {
  return [
    "No RabbitMQ 4 to test against. Any one of these will do:",
    "- name one that runs: CONFLUO_TEST_BROKER4=amqp://guest:guest@localhost:5672 npm run test:rabbitmq4",
    `- install RabbitMQ 4; it need not run (installed now: ${installed ?? "none"})`,
    `- start Docker: the tests then start a container (now: ${noDocker})`,
    "- be root on Debian or Ubuntu: the tests then unpack Debian's package in a folder of its own",
  ].join("\n");
}
