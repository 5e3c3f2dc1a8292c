/** What the figures depend on, without whose machine it is. */

import { execFileSync } from "node:child_process";
import { arch, cpus, release, totalmem, type } from "node:os";

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGb: number;
  readonly os: string;
  readonly node: string;
  /** Its version; `undefined` if none was needed. */
  readonly rabbitmq: string | undefined;
  /** Of confluo, with a plus if there were changes. */
  readonly commit: string | undefined;
}

export function describeMachine(rabbitmq: string | undefined, checkout: string): Machine {
  const processors = cpus();
  return {
    cpu: processors[0]?.model.replaceAll(/\s+/g, " ").trim() ?? "unknown",
    cores: processors.length,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    // A release's further parts are somebody's own.
    os: `${type()} ${release().split(".").slice(0, 2).join(".")} ${arch()}`,
    node: process.versions.node,
    rabbitmq,
    commit: readCommit(checkout),
  };
}

/** One line for people. */
export function formatMachine({ cpu, cores, memoryGb, os, node, rabbitmq, commit }: Machine): string {
  const parts = [`${cpu}, ${cores} cores`, `${memoryGb} GB`, os, `Node ${node}`];
  if (rabbitmq !== undefined) parts.push(`RabbitMQ ${rabbitmq}`);
  if (commit !== undefined) parts.push(`confluo at ${commit}`);
  return parts.join(" · ");
}

function readCommit(checkout: string): string | undefined {
  const git = (...args: readonly string[]): string =>
    execFileSync("git", args, {
      cwd: checkout,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
  try {
    const hasChanges = git("status", "--porcelain", "--untracked-files=no") !== "";
    return `${git("rev-parse", "--short", "HEAD")}${hasChanges ? "+" : ""}`;
  } catch {
    return undefined; // no checkout of git
  }
}
