/**
 * Unpacks RabbitMQ 4, as packaged for Debian 13, into a folder that is used as a root directory. The system is not changed:
 * nothing is installed, configured or mounted, and apt keeps its lists and packages in a separate folder.
 */

import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { basename, join } from "node:path";
import { run } from "./child-process.mjs";

const release = "trixie";
const startScript = "/usr/lib/rabbitmq/bin/rabbitmq-server";
/** RabbitMQ, and the programs that its start script uses but no package depends on, because every Debian system has them. */
const packages = ["rabbitmq-server", "base-files", "coreutils", "dash", "grep", "sed"];
/** The mirror for systems whose own sources are not Debian's. */
const usualMirror = "http://deb.debian.org/debian";
/** Longer than any build takes, so an older unfinished folder was abandoned. */
const abandonedAfterMs = 3_600_000;

/**
 * Needs root, apt-get and dpkg-deb. The folder is created once and stays in the user's cache.
 *
 * @param {NodeJS.ProcessEnv} env
 * @param {(line: string) => void} log
 * @returns {Promise<{ root: string, script: string }>} `script`: the path of the start script inside `root`
 */
export async function unpackRabbitMQ4(env, log) {
  const cache = cacheFolder(env);
  const root = join(cache, release);
  if (!existsSync(root)) {
    log(`Unpacking RabbitMQ 4 from Debian ${release} into ${root}: it takes about 180 MB there.`);
    mkdirSync(cache, { recursive: true });
    removeAbandoned(cache);
    await build(cache, root, env);
  }
  return { root: realpathSync(root), script: startScript };
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @returns {{ root: string, script: string } | undefined} the result of an earlier `unpackRabbitMQ4`
 */
export function findUnpackedRabbitMQ4(env) {
  const root = join(cacheFolder(env), release);
  return existsSync(root) ? { root: realpathSync(root), script: startScript } : undefined;
}

/** @param {NodeJS.ProcessEnv} env */
function cacheFolder(env) {
  return join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "confluo-rabbitmq4");
}

/**
 * Builds in a new folder, then renames it. So an incomplete root is never visible, and two builds at the same time do no harm.
 *
 * @param {string} cache
 * @param {string} root
 * @param {NodeJS.ProcessEnv} env
 */
async function build(cache, root, env) {
  const folder = mkdtempSync(join(cache, "unfinished-"));
  try {
    const fresh = join(folder, "root");
    const { mirror, keyring } = await askSystem(join(folder, "system"), env);
    const apt = createApt(join(folder, "apt"), env, `deb [signed-by=${keyring}] ${mirror} ${release} main\n`);
    await succeed(apt(["update"]), `apt-get update from ${mirror}`);
    await unpack(await download(apt, join(folder, "apt"), packages), fresh, env);
    // Replaces the packages' own scripts, as far as a node needs them. An ordinary file replaces the device, which some
    // containers may not create, and no program here depends on what is read from it.
    writeFileSync(join(fresh, "dev", "null"), "", { mode: 0o666 });
    writeFileSync(join(fresh, "etc", "hosts"), "127.0.0.1 localhost\n");
    if (!existsSync(join(fresh, startScript)))
      throw new Error(`The packages of Debian ${release} were unpacked, yet ${startScript} is missing.`);
    try {
      renameSync(fresh, root);
    } catch (error) {
      if (!existsSync(root)) throw error; // otherwise another build was faster
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * Finds the Debian mirror in the system's own sources, and downloads Debian's newest keys, because the installed keys may be
 * older than the release.
 *
 * @param {string} folder
 * @param {NodeJS.ProcessEnv} env
 */
async function askSystem(folder, env) {
  const apt = createApt(folder, env);
  await apt(["update"]); // its failure is ignored: a source that cannot be reached may not be the one that matters
  const { output } = await apt(["indextargets", "--format", "$(LABEL) $(REPO_URI)"]);
  const mirror = /^Debian (\S+)$/m.exec(output)?.[1] ?? usualMirror;
  const keys = join(folder, "keys");
  await unpack(await download(apt, folder, ["debian-archive-keyring"]), keys, env);
  const keyrings = join(keys, "usr", "share", "keyrings");
  const keyring = readdirSync(keyrings).find((name) => /^debian-archive-keyring\.(gpg|pgp)$/.test(name));
  if (keyring === undefined) throw new Error("The package debian-archive-keyring holds no such keyring.");
  return { mirror, keyring: join(keyrings, keyring) };
}

/** @typedef {(args: readonly string[]) => Promise<{ code: number, output: string }>} Apt */

/**
 * @param {string} folder Receives all files that apt writes.
 * @param {NodeJS.ProcessEnv} env
 * @param {string} [sources] Default: the system's.
 * @returns {Apt} runs an apt-get that sees no installed packages; its network settings are the system's
 */
function createApt(folder, env, sources) {
  mkdirSync(join(folder, "state"), { recursive: true });
  mkdirSync(join(folder, "cache"));
  writeFileSync(join(folder, "status"), "");
  const lines = [
    // These hooks concern the system's own lists.
    "#clear APT::Update::Pre-Invoke;",
    "#clear APT::Update::Post-Invoke;",
    "#clear APT::Update::Post-Invoke-Success;",
    `Dir::State "${folder}/state";`,
    `Dir::State::status "${folder}/status";`,
    `Dir::Cache "${folder}/cache";`,
    'Acquire::Languages "none";',
    'APT::Install-Recommends "false";',
    'APT::Sandbox::User "root";', // the default user may not write into the folder
  ];
  if (sources !== undefined) {
    writeFileSync(join(folder, "sources.list"), sources);
    lines.push(`Dir::Etc::sourcelist "${folder}/sources.list";`);
    for (const name of ["sourceparts", "preferences", "preferencesparts"])
      lines.push(`Dir::Etc::${name} "/dev/null";`);
  }
  const config = join(folder, "apt.conf");
  writeFileSync(config, `${lines.join("\n")}\n`);
  // A file given as an option is read after the system's configuration, so it overrides that.
  return (args) =>
    run("apt-get", ["--config-file", config, "--quiet=2", ...args], {
      quiet: true,
      env: { ...env, LC_ALL: "C" },
    });
}

/**
 * @param {Apt} apt
 * @param {string} folder The same as apt's.
 * @param {readonly string[]} names
 * @returns {Promise<string[]>} the files of the packages and of all their dependencies
 */
async function download(apt, folder, names) {
  await succeed(apt(["install", "--download-only", "--yes", ...names]), `Fetching ${names[0]} with apt-get`);
  const archives = join(folder, "cache", "archives");
  return readdirSync(archives)
    .filter((name) => name.endsWith(".deb"))
    .map((name) => join(archives, name));
}

/**
 * @param {readonly string[]} files
 * @param {string} target
 * @param {NodeJS.ProcessEnv} env
 */
async function unpack(files, target, env) {
  mkdirSync(target);
  // This package contains the links from /bin and /lib to /usr/bin and /usr/lib, so it is unpacked first.
  const isFirst = (/** @type {string} */ file) => basename(file).startsWith("base-files_");
  for (const file of [...files].sort((a, b) => Number(isFirst(b)) - Number(isFirst(a)))) {
    await succeed(run("dpkg-deb", ["--extract", file, target], { quiet: true, env }), `Unpacking ${file}`);
  }
}

/**
 * @param {Promise<{ code: number, output: string }>} running
 * @param {string} what
 */
async function succeed(running, what) {
  const { code, output } = await running;
  if (code !== 0) throw new Error(`${what} failed with exit code ${code}:\n${output}`);
}

/** @param {string} cache */
function removeAbandoned(cache) {
  for (const name of readdirSync(cache).filter((entry) => entry.startsWith("unfinished-"))) {
    const folder = join(cache, name);
    const { mtimeMs } = statSync(folder, { throwIfNoEntry: false }) ?? { mtimeMs: Date.now() };
    if (Date.now() - mtimeMs > abandonedAfterMs) rmSync(folder, { recursive: true, force: true });
  }
}
