/**
 * A network of hosts of its own, made of Linux's network namespaces: one for the torture and one for each node of a cluster,
 * joined by a switch. No interface, route or rule of the machine itself is touched.
 */

import { execFileSync, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { WardenMessage } from "./warden.ts";

export interface Network {
  /** Of its namespaces. */
  readonly name: string;
  /** Ends all processes in it, and removes it. */
  remove(): Promise<void>;
}

const subnet = "10.78.0";

/** Namespace of the torture itself, and of a node, counted from 0. */
export function namespaceOf(network: string, node?: number): string {
  return `${network}-${node === undefined ? "home" : node}`;
}

export function addressOf(node: number): string {
  return `${subnet}.${node + 11}`;
}

export function whyNoNetwork(): string | undefined {
  if (process.platform !== "linux") return `network namespaces are Linux's, and this is ${process.platform}`;
  if (process.getuid?.() !== 0) return "network namespaces take root";
  const probe = `confluo-probe-${process.pid}`;
  try {
    ip("netns", "add", probe);
    ip("netns", "del", probe);
    return undefined;
  } catch (error) {
    return `ip netns does not work here: ${error instanceof Error ? error.message.trim() : error}`;
  }
}

/** It is removed also when this process is gone, however that ended; and so is the folder. */
export async function makeNetwork(nodes: number, folder: string): Promise<Network> {
  const name = `confluo-${process.pid}`;
  const home = namespaceOf(name);
  const all = [...Array.from({ length: nodes }, (_, node) => namespaceOf(name, node)), home];
  const warden = fork(join(import.meta.dirname, "warden.ts"), [], {
    cwd: join(import.meta.dirname, "..", ".."),
    execArgv: ["--import", "tsx"],
    stdio: ["ignore", "ignore", "inherit", "ipc"],
    detached: true,
    env: { ...process.env, TSX_DISABLE_CACHE: "1" },
  });
  const remains = `for name in ${all.join(" ")}; do
    ip netns pids $name | xargs -r kill -9; ip netns del $name; done 2> /dev/null`;
  warden.send({ afterwards: remains } satisfies WardenMessage);
  warden.send({ folder } satisfies WardenMessage);
  const remove = async (): Promise<void> => {
    if (warden.exitCode !== null || warden.signalCode !== null) return;
    const exited = once(warden, "exit");
    if (warden.connected) warden.disconnect();
    await exited;
  };
  try {
    ip("netns", "add", home);
    inNamespace(home, "link", "set", "lo", "up");
    inNamespace(home, "link", "add", "name", "switch", "type", "bridge");
    inNamespace(home, "addr", "add", `${subnet}.1/24`, "dev", "switch");
    inNamespace(home, "link", "set", "switch", "up");
    for (let node = 0; node < nodes; node += 1) {
      const its = namespaceOf(name, node);
      const port = portOf(node);
      ip("netns", "add", its);
      inNamespace(home, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", its);
      inNamespace(home, "link", "set", port, "master", "switch", "up");
      inNamespace(its, "link", "set", "lo", "up");
      inNamespace(its, "addr", "add", `${addressOf(node)}/24`, "dev", "eth0");
      inNamespace(its, "link", "set", "eth0", "up");
    }
    return { name, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** Pulls the cable of a node, or plugs it in again. */
export function setCable(network: string, node: number, state: "up" | "down"): void {
  inNamespace(namespaceOf(network), "link", "set", portOf(node), state);
}

/** Lets a node reach its peers no more, or again; whoever else there is reaches it all the time. */
export function setPeers(
  network: string,
  { node, nodes }: { readonly node: number; readonly nodes: number },
  state: "near" | "far",
): void {
  for (let peer = 0; peer < nodes; peer += 1) {
    if (peer === node) continue;
    const verb = state === "far" ? "replace" : "del";
    inNamespace(namespaceOf(network, node), "route", verb, "blackhole", `${addressOf(peer)}/32`);
  }
}

function portOf(node: number): string {
  return `port${node}`;
}

function inNamespace(name: string, ...args: readonly string[]): void {
  ip("-n", name, ...args);
}

function ip(...args: readonly string[]): void {
  execFileSync("ip", args, { stdio: ["ignore", "ignore", "pipe"], encoding: "utf8" });
}
