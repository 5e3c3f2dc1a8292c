/** A RabbitMQ node of one's own from an installed RabbitMQ, apart from the system's node in every respect. */

import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { availableParallelism, tmpdir } from "node:os";
import { basename, delimiter, dirname, join, relative } from "node:path";
import { waitForBroker } from "./amqp-greeting.mjs";
import { endOfOutput, startGuarded } from "./broker-guard.mjs";

/** Where RabbitMQ's start script may lie, apart from `PATH`. */
const usualFolders = [
  "/usr/lib/rabbitmq/bin", // Debian, Ubuntu, Red Hat
  "/opt/homebrew/sbin", // Homebrew on Apple silicon
  "/usr/local/sbin", // Homebrew on Intel
  "/opt/rabbitmq/sbin", // RabbitMQ's container image
];

const startTimeoutMs = 60_000;
const controlTimeoutMs = 60_000;

/**
 * What a node shall have besides the usual.
 * @typedef {object} NodeExtras
 * @property {readonly string[]} [plugins] Names of plugins to enable.
 * @property {Readonly<Record<string, string>>} [files] Contents by name: put into the node's folder.
 * @property {(place: { folder: string, port: number }) => readonly string[]} [config] Further lines of `rabbitmq.conf`.
 *   `folder` is the node's as the node itself calls it, `port` a free one, which is `extraPort` of the started broker.
 * @property {Readonly<Record<string, number>>} [settings] Of the Erlang application `rabbit`, in addition, such as
 *   `consumer_timeout`.
 */

/** @typedef {NodeExtras & { root?: string }} NodeOptions `root`: a folder in which the script lies and the node runs. */

/**
 * @param {NodeJS.ProcessEnv} env
 * @param {readonly string[]} [folders]
 * @returns {string | undefined} the start script of an installed RabbitMQ
 */
export function findRabbitMQ(env, folders = usualFolders) {
  const searched = (env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  if (env.RABBITMQ_HOME) searched.unshift(join(env.RABBITMQ_HOME, "sbin"));
  for (const folder of [...searched, ...folders]) {
    const file = join(folder, "rabbitmq-server");
    if (!existsSync(file)) continue;
    const script = realpathSync(file);
    // Packages put a wrapper of that name in PATH which switches to the system node's user, folders and cookie.
    // The script itself has its siblings beside it.
    if (basename(script) === "rabbitmq-server" && existsSync(join(dirname(script), "rabbitmq-env")))
      return script;
  }
  return undefined;
}

/**
 * @param {string} script as found by `findRabbitMQ`
 * @returns {string | undefined} its RabbitMQ's version, told by what lies beside it rather than by starting it
 */
export function readVersion(script) {
  const plugins = join(dirname(script), "..", "plugins");
  if (!existsSync(plugins)) return undefined;
  const versions = readdirSync(plugins).map((name) => /^rabbit-(\d.*?)(?:\.ez)?$/.exec(name)?.[1]);
  return versions.find((version) => version !== undefined);
}

/**
 * @param {string} script as found by `findRabbitMQ`
 * @param {NodeJS.ProcessEnv} env
 * @param {NodeOptions} [options]
 * @returns {Promise<import("./broker-guard.mjs").StartedBroker & { extraPort: number }>}
 */
export async function startPrivateNode(script, env, options = {}) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await startOnce(script, env, options);
    } catch (error) {
      // A port that was free a moment ago can be taken by now.
      const portTaken = /eaddrinuse|address already in use|port \d+ .*in use/i.test(String(error));
      if (!portTaken || attempt === 3) throw error;
    }
  }
}

/**
 * @param {string} script
 * @param {NodeJS.ProcessEnv} env
 * @param {NodeOptions} options
 */
async function startOnce(script, env, { root = "/", ...extras }) {
  const temporary = root === "/" ? tmpdir() : join(root, "tmp");
  const folder = realpathSync(mkdtempSync(join(temporary, "confluo-broker-")));
  const [port = 0, distributionPort = 0, epmdPort = 0, extraPort = 0] = await findFreePorts(4);
  const nodeEnv = prepare({ folder, root, extras }, env, { port, distributionPort, epmdPort, extraPort });
  const guard = startGuarded({
    ...inRoot(root, script, []),
    folder,
    env: nodeEnv,
    outputFile: join(folder, "log", "output.log"),
    epmdPort,
  });
  const url = `amqp://127.0.0.1:${port}`;
  /** @param {import("./broker-guard.mjs").EndingSignal} signal */
  const restart = async (signal) => {
    await guard.restart(signal);
    await waitForBroker(url, { timeoutMs: startTimeoutMs, signal: guard.ended });
  };
  try {
    const greeting = await waitForBroker(url, { timeoutMs: startTimeoutMs, signal: guard.ended });
    const control = (/** @type {readonly string[]} */ args) =>
      runControl(inRoot(root, join(dirname(script), "rabbitmqctl"), args), nodeEnv);
    return { url, greeting, stop: guard.stop, restart, pause: guard.pause, control, extraPort };
  } catch (cause) {
    const why = guard.ended.aborted
      ? `ended with ${guard.ended.reason.message}`
      : `gave no answer on ${url}: ${cause}`;
    const log = readLogTail(join(folder, "log"));
    await guard.stop();
    throw new Error(`A private RabbitMQ node (${script}) ${why}.\nThe end of its log:\n${log}`, { cause });
  }
}

/**
 * @param {string} root
 * @param {string} program As seen inside of `root`.
 * @param {readonly string[]} args
 * @returns {{ command: string, args: readonly string[] }}
 */
function inRoot(root, program, args) {
  return root === "/"
    ? { command: program, args }
    : { command: "/usr/sbin/chroot", args: [root, program, ...args] };
}

/**
 * @param {{ command: string, args: readonly string[] }} program
 * @param {Record<string, string>} nodeEnv
 * @returns {Promise<string>}
 */
async function runControl({ command, args }, nodeEnv) {
  // It would listen 10,000 ports above the node's, which may be beyond the last.
  const [port = 0] = await findFreePorts(1);
  const env = {
    ...nodeEnv,
    RABBITMQ_CTL_DIST_PORT_MIN: String(port),
    RABBITMQ_CTL_DIST_PORT_MAX: String(port),
  };
  return new Promise((resolve, reject) => {
    execFile(command, args, { env, timeout: controlTimeoutMs }, (error, output, errors) => {
      if (error === null) resolve(output);
      else {
        const why = error.killed
          ? `it did not end within ${controlTimeoutMs} ms`
          : `${output}${errors}`.trim();
        reject(new Error(`${command} ${args.join(" ")} failed: ${why}`, { cause: error }));
      }
    });
  });
}

/**
 * @param {Readonly<Record<string, number>>} settings
 * @returns {string} in Erlang's terms
 */
function writeSettings(settings) {
  const pairs = Object.entries(settings).map(([name, value]) => `{${name}, ${value}}`);
  return `[{rabbit, [${pairs.join(", ")}]}].\n`;
}

/**
 * Lays out the node's folder.
 * @param {{ folder: string, root: string, extras: NodeExtras }} place
 * @param {NodeJS.ProcessEnv} env
 * @param {{ port: number, distributionPort: number, epmdPort: number, extraPort: number }} ports
 * @returns {Record<string, string>} the node's environment, all of it: nothing of a user's settings leaks in
 */
function prepare({ folder, root, extras }, env, { port, distributionPort, epmdPort, extraPort }) {
  const { plugins = [], files = {}, config, settings = {} } = extras;
  const seen = join("/", relative(root, folder)); // what the node calls its folder
  for (const name of ["home", "log", "mnesia", "conf.d"]) mkdirSync(join(folder, name));
  writeFileSync(join(folder, "home", ".erlang.cookie"), randomBytes(16).toString("hex"), { mode: 0o400 });
  writeFileSync(join(folder, "enabled_plugins"), `[${plugins.join(", ")}].\n`);
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  writeFileSync(join(folder, "advanced.config"), writeSettings(settings));
  writeFileSync(
    join(folder, "rabbitmq.conf"),
    [
      `listeners.tcp.1 = 127.0.0.1:${port}`,
      "num_acceptors.tcp = 2",
      "vm_memory_high_watermark.absolute = 1GiB",
      "disk_free_limit.absolute = 50MB",
      "vm_memory_calculation_strategy = allocated", // asks Erlang: a root folder holds no /proc to ask
      ...(config?.({ folder: seen, port: extraPort }) ?? []),
      "",
    ].join("\n"),
  );
  const schedulers = Math.min(2, availableParallelism());
  return {
    HOME: join(seen, "home"),
    // Homebrew's RabbitMQ looks for `erl` there.
    PATH: [env.PATH, "/usr/bin", "/bin", "/opt/homebrew/bin", "/usr/local/bin"]
      .filter(Boolean)
      .join(delimiter),
    LANG: "C.UTF-8",
    LC_ALL: "C.UTF-8",
    RABBITMQ_NODENAME: `confluo-${randomBytes(4).toString("hex")}@localhost`,
    RABBITMQ_CONF_ENV_FILE: join(seen, "rabbitmq-env.conf"),
    RABBITMQ_CONFIG_FILE: join(seen, "rabbitmq.conf"),
    RABBITMQ_CONFIG_FILES: join(seen, "conf.d"),
    RABBITMQ_ADVANCED_CONFIG_FILE: join(seen, "advanced.config"),
    RABBITMQ_GENERATED_CONFIG_DIR: join(seen, "generated"),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(seen, "enabled_plugins"),
    RABBITMQ_MNESIA_BASE: join(seen, "mnesia"),
    RABBITMQ_LOG_BASE: join(seen, "log"),
    ERL_CRASH_DUMP: join(seen, "erl_crash.dump"),
    RABBITMQ_DIST_PORT: String(distributionPort),
    RABBITMQ_SCHEDULER_BIND_TYPE: "u",
    // The script then becomes the broker instead of minding it, so that its pid is the broker's.
    RABBITMQ_ALLOW_INPUT: "1",
    RABBITMQ_SERVER_START_ARGS: "-noinput",
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: `+S ${schedulers}:${schedulers} -kernel inet_dist_use_interface {127,0,0,1}`,
    ERL_EPMD_PORT: String(epmdPort),
    ERL_EPMD_ADDRESS: "127.0.0.1",
    ERL_EPMD_RELAXED_COMMAND_CHECK: "1", // lets it be stopped although a node was registered
  };
}

/**
 * @param {number} count
 * @returns {Promise<number[]>} ports that were free a moment ago
 */
export async function findFreePorts(count) {
  const servers = Array.from({ length: count }, () => createServer());
  const ports = await Promise.all(
    servers.map(
      (server) =>
        /** @type {Promise<number>} */ (
          new Promise((resolve, reject) => {
            server.once("error", reject);
            server.listen({ host: "127.0.0.1", port: 0 }, () => {
              const address = server.address();
              resolve(typeof address === "object" && address !== null ? address.port : 0);
            });
          })
        ),
    ),
  );
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** @param {string} folder */
function readLogTail(folder) {
  return readdirSync(folder)
    .filter((name) => name.endsWith(".log"))
    .map((name) => endOfOutput(join(folder, name)))
    .join("\n");
}
