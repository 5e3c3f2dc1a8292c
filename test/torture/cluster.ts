/** A cluster of RabbitMQ nodes, each on a host of its own in a network of their own, and what befalls its nodes. */

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { connect } from "amqplib";
import type { NodeFault } from "./faults.ts";
import { addressOf, namespaceOf, setCable, setPeers } from "./network.ts";

export interface Cluster {
  readonly urls: readonly string[];
  readonly description: string;
  /** Resolves when the node is back and sees all its peers. */
  strike(fault: NodeFault): Promise<void>;
}

export const clusterSize = 3;

/** Where packages put the scripts themselves; those in `PATH` switch to the system node's user, folders and cookie. */
const scripts = "/usr/lib/rabbitmq/bin";
const startTimeoutMs = 120_000;
const controlTimeoutMs = 60_000;
/** Peers that hear nothing of a node miss it after 8 to 13 s. */
const tickSeconds = 10;

export function whyNoRabbitMQ(): string | undefined {
  if (existsSync(join(scripts, "rabbitmq-server"))) return undefined;
  return `RabbitMQ is not installed: ${scripts}/rabbitmq-server is missing (apt-get install rabbitmq-server)`;
}

/** Its processes end with the network. */
export async function startCluster(network: string, folder: string): Promise<Cluster> {
  const cookie = randomBytes(16).toString("hex");
  const nodes = Array.from({ length: clusterSize }, (_, number) => new Node(network, number));
  for (const node of nodes) node.prepare(join(folder, `node${node.number}`), cookie);
  const [first, ...others] = nodes;
  // One at first: nodes that look for each other at the same moment may form two clusters.
  await first?.start();
  await Promise.all(others.map((node) => node.start()));
  await Promise.all(nodes.map((node) => node.awaitPeers()));
  const strike = async ({ kind, node: number, lastsMs }: NodeFault): Promise<void> => {
    const node = nodes[number];
    if (node === undefined) throw new Error(`there is no node ${number}`);
    switch (kind) {
      case "kill node":
      case "stop node":
        await node.end(kind === "kill node" ? "SIGKILL" : "SIGTERM");
        await sleep(lastsMs);
        await node.start();
        break;
      case "isolate node":
        setPeers(network, { node: number, nodes: clusterSize }, "far");
        await sleep(lastsMs);
        setPeers(network, { node: number, nodes: clusterSize }, "near");
        break;
      case "cut node":
        setCable(network, number, "down");
        await sleep(lastsMs);
        setCable(network, number, "up");
        break;
      default:
        kind satisfies never;
    }
    try {
      await node.isBack();
    } catch {
      // RabbitMQ 3.10 may stay paused although its peers are there again. An operator starts such a node anew.
      await node.end("SIGKILL");
      await node.start();
      await node.isBack();
    }
  };
  const description = `RabbitMQ, a cluster of ${clusterSize} nodes in network namespaces, ${first?.url} and so on`;
  return { urls: nodes.map(({ url }) => url), description, strike };
}

class Node {
  readonly number: number;
  readonly url: string;
  readonly #namespace: string;
  #folder = "";
  #env: NodeJS.ProcessEnv = {};
  #child: ChildProcess | undefined;

  constructor(network: string, number: number) {
    this.number = number;
    this.url = `amqp://guest:guest@${addressOf(number)}:5672`;
    this.#namespace = namespaceOf(network, number);
  }

  /** Lays out its folder. */
  prepare(folder: string, cookie: string): void {
    const address = addressOf(this.number);
    for (const name of ["home", "log", "mnesia"]) mkdirSync(join(folder, name), { recursive: true });
    writeFileSync(join(folder, "home", ".erlang.cookie"), cookie, { mode: 0o400 });
    writeFileSync(join(folder, "enabled_plugins"), "[].\n");
    const peers = Array.from(
      { length: clusterSize },
      (_, peer) => `cluster_formation.classic_config.nodes.${peer + 1} = ${nameOf(peer)}`,
    );
    const config = [
      `listeners.tcp.1 = ${address}:5672`,
      "num_acceptors.tcp = 2",
      "loopback_users = none",
      "vm_memory_high_watermark.absolute = 512MiB",
      "disk_free_limit.absolute = 50MB",
      "cluster_partition_handling = pause_minority",
      `net_ticktime = ${tickSeconds}`,
      "cluster_formation.peer_discovery_backend = classic_config",
      ...peers,
      "",
    ];
    writeFileSync(join(folder, "rabbitmq.conf"), config.join("\n"));
    this.#folder = folder;
    this.#env = {
      HOME: join(folder, "home"),
      PATH: process.env.PATH,
      LANG: "C.UTF-8",
      LC_ALL: "C.UTF-8",
      RABBITMQ_USE_LONGNAME: "true",
      RABBITMQ_NODENAME: nameOf(this.number),
      RABBITMQ_CONF_ENV_FILE: join(folder, "rabbitmq-env.conf"),
      RABBITMQ_CONFIG_FILE: join(folder, "rabbitmq.conf"),
      RABBITMQ_ADVANCED_CONFIG_FILE: join(folder, "advanced.config"),
      RABBITMQ_GENERATED_CONFIG_DIR: join(folder, "generated"),
      RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, "enabled_plugins"),
      RABBITMQ_MNESIA_BASE: join(folder, "mnesia"),
      RABBITMQ_LOG_BASE: join(folder, "log"),
      RABBITMQ_SCHEDULER_BIND_TYPE: "u",
      // The script then becomes the broker instead of minding it, so that its pid is the broker's.
      RABBITMQ_ALLOW_INPUT: "1",
      RABBITMQ_SERVER_START_ARGS: "-noinput",
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: "+S 1:1",
      RABBITMQ_CTL_ERL_ARGS: "+S 1:1",
      ERL_EPMD_RELAXED_COMMAND_CHECK: "1",
    };
  }

  /** Resolves once it answers. */
  async start(): Promise<void> {
    const output = openSync(join(this.#folder, "log", "output"), "a");
    const [command, ...args] = this.#inside("rabbitmq-server");
    this.#child = spawn(command, args, {
      cwd: this.#folder,
      env: this.#env,
      stdio: ["ignore", output, output],
      detached: true,
    });
    this.#child.unref();
    closeSync(output);
    await this.answers();
  }

  async end(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill(signal);
    const late = setTimeout(() => child.kill("SIGKILL"), controlTimeoutMs);
    await exited;
    clearTimeout(late);
  }

  /** Resolves when it takes connections: one that is in the minority takes none. */
  async answers(): Promise<void> {
    const deadline = Date.now() + startTimeoutMs;
    for (;;) {
      try {
        const connection = await connect(this.url, { timeout: 2_000 });
        await connection.close();
        return;
      } catch (error) {
        if (Date.now() > deadline || this.#child?.exitCode !== null || this.#child.signalCode !== null)
          throw new Error(`node ${this.number} does not answer: ${error}\n${this.#lastWords()}`);
      }
      await sleep(200);
    }
  }

  /** Resolves when it takes connections and sees all nodes. */
  async isBack(): Promise<void> {
    await this.answers();
    await this.awaitPeers();
    await this.answers();
  }

  /** Resolves when it sees all nodes. */
  async awaitPeers(): Promise<void> {
    const [command, ...args] = this.#inside("rabbitmqctl");
    const timeout = String(controlTimeoutMs / 1_000);
    const wanted = ["await_online_nodes", String(clusterSize), "--timeout", timeout];
    await promisify(execFile)(command, [...args, ...wanted], {
      env: this.#env,
      timeout: 2 * controlTimeoutMs,
    });
  }

  #inside(script: string): readonly [command: string, ...args: string[]] {
    return ["ip", "netns", "exec", this.#namespace, join(scripts, script)];
  }

  #lastWords(): string {
    return readFileSync(join(this.#folder, "log", "output"), "utf8")
      .split("\n")
      .slice(-20)
      .join("\n");
  }
}

function nameOf(node: number): string {
  return `rabbit@${addressOf(node)}`;
}
