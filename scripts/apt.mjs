/** Installs packages that the tests need on a Debian-like system, and prevents them from starting their servers. */

import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { findProgram, run } from "./child-process.mjs";

/** The file by which Debian forbids packages to start services; `invoke-rc.d` and `deb-systemd-invoke` read it. */
const policyFile = "/usr/sbin/policy-rc.d";
const policyMark = "# Written by confluo's tests while they install a package; may be deleted.";

/** @param {NodeJS.ProcessEnv} env */
export function canInstallWithApt(env) {
  return process.getuid?.() === 0 && findProgram("apt-get", env) !== undefined;
}

/**
 * @param {"rabbitmq-server" | "prometheus" | "postgresql"} name Of the package, and of the service in it.
 * @param {NodeJS.ProcessEnv} env
 */
export async function installPackage(name, env) {
  const forbidden = forbidServices();
  try {
    // Its failure is ignored, because a source that cannot be reached may not be the one that has the package.
    await aptGet(["update"], env);
    const { code, output } = await aptGet(["install", "--yes", "--no-install-recommends", name], env);
    if (code !== 0) throw new Error(`apt-get install ${name} failed with exit code ${code}:\n${output}`);
  } finally {
    if (forbidden) rmSync(policyFile, { force: true });
  }
  await retireService(name, env, !forbidden);
}

/**
 * @param {readonly string[]} args
 * @param {NodeJS.ProcessEnv} env
 */
function aptGet(args, env) {
  return run("apt-get", ["-o", "DPkg::Lock::Timeout=300", "--quiet=2", ...args], {
    quiet: true,
    env: { ...env, DEBIAN_FRONTEND: "noninteractive", NEEDRESTART_SUSPEND: "1" },
  });
}

/** @returns {boolean} false if the system has a policy of its own, which is then not changed */
function forbidServices() {
  if (existsSync(policyFile)) {
    // An earlier run that was killed may have left this file.
    if (!readFileSync(policyFile, "utf8").includes(policyMark)) return false;
    rmSync(policyFile);
  }
  writeFileSync(policyFile, `#!/bin/sh\n${policyMark}\nexit 101\n`, { mode: 0o755, flag: "wx" });
  return true;
}

/**
 * Disables the service of a package, which the tests have just installed, so nobody else uses it yet: it must not start at the
 * next boot, nor keep running if the system's own policy allowed it to start.
 *
 * @param {string} name
 * @param {NodeJS.ProcessEnv} env
 * @param {boolean} mayRun
 */
async function retireService(name, env, mayRun) {
  await run("update-rc.d", [name, "disable"], { quiet: true, env });
  if (mayRun) await run("service", [name, "stop"], { quiet: true, env });
}
