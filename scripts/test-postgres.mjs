/**
 * A PostgreSQL for the tests, got in the first of these ways that works:
 *
 * 1. `CONFLUO_TEST_POSTGRES` names one (a URL);
 * 2. PostgreSQL is installed: a private server of it, apart from the system's own;
 * 3. Docker runs: a container;
 * 4. root on a Debian-like system: PostgreSQL is installed, then as 2.
 *
 * A server that was not started here is never stopped; the tests create databases of their own in it, and drop them.
 */

import { execFileSync } from "node:child_process";
import { chownSync, mkdtempSync, readdirSync, realpathSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { endOfOutput, startGuarded } from "../dev-broker/broker-guard.mjs";
import { startServer, whyNoDocker } from "../dev-broker/container.mjs";
import { findFreePorts } from "../dev-broker/private-node.mjs";
import { canInstallWithApt, installPackage } from "./apt.mjs";
import { isExecutable } from "./child-process.mjs";
import { waitForPostgres } from "./postgres-greeting.mjs";

/**
 * @typedef {object} TestPostgres
 * @property {string} url As given, or of the server that was started.
 * @property {string} description One line for people.
 * @property {() => Promise<void>} stop Resolves once nothing is left of what was started here; may be called again.
 */

const image = "postgres:17";
const startTimeoutMs = 60_000;
const givenTimeoutMs = 20_000;
/** Settings of a server that need not survive a crash of the machine. */
const settings = ["-c", "fsync=off", "-c", "full_page_writes=off"];

/** Where the programs of each version lie, apart from `PATH`: Debian, Red Hat, Homebrew. */
const usualFolders = ["/usr/lib/postgresql", "/usr", "/opt/homebrew/opt", "/usr/local/opt"];

/**
 * Also when nobody calls `stop()`, a server that was started ends with this process, however that ends.
 * @param {object} [options]
 * @param {NodeJS.ProcessEnv} [options.env] Default: this process's.
 * @param {readonly string[]} [options.folders] Folders with one folder for each version. Default: the usual ones.
 * @param {(line: string) => void} [options.log] Told about what takes long. Default: `console.log`.
 * @returns {Promise<TestPostgres>} Rejects with what to do where it cannot be had.
 */
export async function startTestPostgres({ env = process.env, folders, log = console.log } = {}) {
  if (env.CONFLUO_TEST_POSTGRES) return useGivenPostgres(env.CONFLUO_TEST_POSTGRES);
  const installed = findPostgres(env, folders);
  if (installed !== undefined) return startPrivateServer(installed);
  const noDocker = await whyNoDocker(env);
  if (noDocker === undefined) return startInContainer(env, log);
  if (!canInstallWithApt(env)) throw new Error(explainWays(noDocker));
  log("Installing postgresql with apt-get: there is neither PostgreSQL nor Docker.");
  await installPackage("postgresql", env).catch((cause) => {
    throw new Error(`${cause.message}\n${explainWays(noDocker)}`, { cause });
  });
  const come = findPostgres(env, folders);
  if (come === undefined) throw new Error("The package postgresql was installed, yet there is no server.");
  return startPrivateServer(come);
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @param {readonly string[]} [folders]
 * @returns {string | undefined} a folder with `postgres` and `initdb`
 */
function findPostgres(env, folders = usualFolders) {
  const searched = (env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  const versions = folders.flatMap((folder) => newestFirst(folder).map((name) => join(folder, name, "bin")));
  for (const folder of [...searched, ...versions]) {
    const program = join(folder, "postgres");
    if (!isExecutable(program)) continue;
    // A link in `PATH` may lead to one of the two alone.
    const home = dirname(realpathSync(program));
    if (isExecutable(join(home, "initdb"))) return home;
  }
  return undefined;
}

/** @param {string} folder */
function newestFirst(folder) {
  try {
    const number = (/** @type {string} */ name) => Number(/\d+(\.\d+)?$/.exec(name)?.[0] ?? 0);
    const names = readdirSync(folder).filter((name) => /^(postgresql@|pgsql-)?\d+(\.\d+)?$/.test(name));
    return names.sort((a, b) => number(b) - number(a));
  } catch {
    return [];
  }
}

/**
 * @param {string} home
 * @returns {Promise<TestPostgres>}
 */
async function startPrivateServer(home) {
  const startedAt = performance.now();
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "confluo-postgres-")));
  const owner = chooseOwner();
  if (owner !== undefined) chownSync(folder, owner.uid, owner.gid);
  const [port = 0] = await findFreePorts(1);
  const data = join(folder, "data");
  const outputFile = join(folder, "output.log");
  // Nothing of a user's settings leaks in, such as PGPORT.
  const env = { PATH: `${home}${delimiter}/usr/bin${delimiter}/bin`, LC_ALL: "C", HOME: folder };
  const make = "--username=postgres --auth=trust --encoding=UTF8 --no-sync";
  const listen = `-p ${port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=`;
  const guard = startGuarded({
    command: "/bin/sh",
    // $1 is the folder of the programs, $2 that of the data.
    args: [
      "-c",
      `"$1/initdb" -D "$2" ${make} && exec "$1/postgres" -D "$2" ${listen} ${settings.join(" ")}`,
      "sh",
      home,
      data,
    ],
    folder,
    env,
    outputFile,
    endSignal: "SIGINT",
    ...(owner === undefined ? {} : { owner }),
  });
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  try {
    const version = await waitForPostgres(url, { timeoutMs: startTimeoutMs, signal: guard.ended });
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
    const description = `PostgreSQL ${version}, private server, ${url}, started in ${seconds} s`;
    return { url, description, stop: guard.stop };
  } catch (cause) {
    const why = guard.ended.aborted
      ? `ended with ${guard.ended.reason.message}`
      : `gave no answer on ${url}: ${cause}`;
    const tail = endOfOutput(outputFile);
    await guard.stop();
    throw new Error(`A private PostgreSQL (${home}) ${why}.\nThe end of its output:\n${tail}`, { cause });
  }
}

/**
 * PostgreSQL refuses to run as root.
 * @returns {{ uid: number, gid: number } | undefined} another user, if this process is root's
 */
function chooseOwner() {
  if (process.getuid?.() !== 0) return undefined;
  for (const user of ["postgres", "nobody"]) {
    try {
      const id = (/** @type {string} */ option) =>
        Number(execFileSync("id", [option, user], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }));
      return { uid: id("-u"), gid: id("-g") };
    } catch {
      // There is no such user: the next one.
    }
  }
  throw new Error("PostgreSQL does not run as root, and there is neither a user postgres nor nobody.");
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @param {(line: string) => void} log
 * @returns {Promise<TestPostgres>}
 */
async function startInContainer(env, log) {
  const options = ["--env", "POSTGRES_HOST_AUTH_METHOD=trust"];
  const contained = { image, port: 5432, options, command: settings };
  const { answer, stop } = await startServer(contained, { env, log }, async (port, signal) => {
    const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
    return { url, version: await waitForPostgres(url, { timeoutMs: startTimeoutMs, signal }) };
  });
  return {
    url: answer.url,
    description: `PostgreSQL ${answer.version}, Docker container, ${answer.url}`,
    stop,
  };
}

/**
 * @param {string} given
 * @returns {Promise<TestPostgres>}
 */
async function useGivenPostgres(given) {
  if (!/^postgres(ql)?:$/.test(URL.canParse(given) ? new URL(given).protocol : ""))
    throw new Error(`CONFLUO_TEST_POSTGRES holds ${JSON.stringify(given)}: expected a postgres:// URL.`);
  const shown = new URL(given);
  shown.username = "";
  shown.password = "";
  try {
    const version = await waitForPostgres(given, { timeoutMs: givenTimeoutMs });
    const description = `PostgreSQL ${version}, given by CONFLUO_TEST_POSTGRES, ${shown.href}`;
    return { url: given, description, stop: async () => undefined };
  } catch (cause) {
    const silence = `no PostgreSQL answered in ${givenTimeoutMs / 1000} s`;
    throw new Error(`CONFLUO_TEST_POSTGRES names ${shown.href}, where ${silence}: ${cause}`, { cause });
  }
}

/** @param {string} noDocker */
function explainWays(noDocker) {
  return [
    "No PostgreSQL to test the recipes with. Any one of these will do:",
    "- name one that runs: CONFLUO_TEST_POSTGRES=postgres://postgres@localhost:5432/postgres npm test",
    "- install PostgreSQL: `sudo apt-get install postgresql` (Debian, Ubuntu) or `brew install postgresql` (macOS);",
    "  it need not run, the tests start a private server of it",
    `- start Docker: the tests then start a container (now: ${noDocker})`,
  ].join("\n");
}
