/** Runs the torture once more inside of a network of its own, where a cluster can be had. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { clusterSize, whyNoRabbitMQ } from "./cluster.ts";
import { makeNetwork, namespaceOf, whyNoNetwork } from "./network.ts";

const variable = "CONFLUO_TORTURE_NETWORK";

/** The network that this process runs in, and the folder for the cluster. */
export function home(): { readonly network: string; readonly folder: string } | undefined {
  const [network, folder] = (process.env[variable] ?? "").split(" ");
  return network && folder ? { network, folder } : undefined;
}

/** @returns the exit code of the run inside; `undefined` inside. */
export async function inNetwork(args: readonly string[]): Promise<number | undefined> {
  if (home() !== undefined) return undefined;
  const reason = whyNoNetwork() ?? whyNoRabbitMQ();
  if (reason !== undefined) throw new Error(`--cluster cannot be had here: ${reason}.`);
  const folder = mkdtempSync(join(tmpdir(), "confluo-cluster-"));
  const network = await makeNetwork(clusterSize, folder);
  try {
    const node = [process.execPath, ...process.execArgv, join(import.meta.dirname, "main.ts"), ...args];
    const child = spawn("ip", ["netns", "exec", namespaceOf(network.name), ...node], {
      stdio: "inherit",
      env: { ...process.env, [variable]: `${network.name} ${folder}` },
    });
    const handOn = (signal: NodeJS.Signals): boolean => child.kill(signal);
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, handOn);
    const [code, signal] = (await once(child, "exit")) as [number | null, NodeJS.Signals | null];
    return signal === null ? (code ?? 1) : 128 + constants.signals[signal];
  } finally {
    await network.remove();
  }
}
