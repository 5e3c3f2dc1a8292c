/** The private RabbitMQ of a fleet, and what it knows of itself. */

import { readFileSync } from "node:fs";
import { type ExtraNode, findNodeStarter } from "../../../../scripts/test-broker.mjs";

/** What there is at the broker, and the bytes that it takes. */
export interface BrokerState {
  readonly pid: number;
  readonly queues: number;
  readonly channels: number;
  readonly connections: number;
  readonly processes: number;
  readonly connectionBytes: number;
  readonly channelBytes: number;
  readonly classicBytes: number;
  readonly quorumBytes: number;
}

/** Starts a node of the same version as the broker at `url`. It may use as much memory as a large fleet takes. */
export async function startFleetBroker(url: string, config: readonly string[]): Promise<ExtraNode> {
  const start = await findNodeStarter(url);
  if (typeof start === "string") throw new Error(start);
  return start({ config: () => ["vm_memory_high_watermark.absolute = 64GiB", ...config] });
}

/** Makes so many vhosts, and returns their addresses; that of the default one for 1. */
export async function makeVhosts({ url, control }: ExtraNode, count: number): Promise<readonly string[]> {
  if (count === 1) return [url];
  const names = Array.from({ length: count }, (_, n) => `part-${n}`);
  for (const name of names) {
    await control(["add_vhost", name]);
    await control(["set_permissions", "-p", name, "guest", ".*", ".*", ".*"]);
  }
  return names.map((name) => `${url}/${name}`);
}

const ASK = `
  M = rabbit_vm:memory(),
  Of = fun(Keys) -> lists:sum([V || {K, V} <- M, lists:member(K, Keys)]) end,
  {list_to_integer(os:getpid()), length(rabbit_amqqueue:list()), length(rabbit_channel:list()),
   length(rabbit_networking:connections()), erlang:system_info(process_count),
   Of([connection_readers, connection_writers, connection_other]), Of([connection_channels]),
   Of([queue_procs, queue_slave_procs]), Of([quorum_queue_procs, quorum_queue_dlx_procs, quorum_ets])}.`;

export async function readBroker({ control }: ExtraNode): Promise<BrokerState> {
  const said = await control(["eval", ASK]);
  const [pid, queues, channels, connections, processes, ...parts] = (said.match(/\d+/g) ?? []).map(Number);
  const [connectionBytes, channelBytes, classicBytes, quorumBytes] = parts;
  const all = { pid, queues, channels, connections, processes };
  const state = { ...all, connectionBytes, channelBytes, classicBytes, quorumBytes };
  if (quorumBytes === undefined) throw new Error(`The broker said ${JSON.stringify(said)}.`);
  return state as BrokerState;
}

/** Returns how many milliseconds of CPU a process has used, and the bytes of memory that it has; only Linux knows. */
export function readProcess(pid: number): { readonly cpuMs: number; readonly rssBytes: number } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const rss = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return { cpuMs: (Number(fields[11]) + Number(fields[12])) * 10, rssBytes: Number(rss) * 1_024 };
  } catch {
    return undefined;
  }
}
