/** One measurement of a fleet: connects it, looks at it at rest, talks to all of it, and restarts its broker. */

import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { ExtraNode } from "../../../../scripts/test-broker.mjs";
import type { MeasureOptions } from "../../measure.ts";
import { median } from "../../statistics.ts";
import type { Figures } from "../../subject.ts";
import { makeVhosts, readBroker, readProcess, startFleetBroker } from "./fleet-broker.ts";
import { FleetProgram } from "./fleet-program.ts";
import type { MemberRole, Outcomes, Usage } from "./orders.ts";
import { isTalkedTo, shapes } from "./shapes.ts";

/** Of each service, each in another process. */
export const INSTANCES = 3;
/** The most instances in one process. */
const MOST_IN_PROCESS = 250;
/** So many instances of a fleet connect at a time, as in a deploy. */
export const CONNECTING = 60;
/** How long the fleet is left alone before it counts as at rest: unused channels are closed by then; and how long it is watched. */
const SETTLE_MS = 31_000;
const REST_MS = 20_000;
const EVENTS = 5;
const EVENT_MS = 30_000;
/** Of commands, and of calls, while the broker restarts; and how long before the end of it and after everything is healthy. */
const PER_SECOND = 100;
const AROUND_MS = 3_000;
/** How long a fleet may take to be healthy after the broker answers again. */
const HEALTHY_MS = 120_000;
/** How long commands that were confirmed may take to be handled, after everything else is over. */
const LATE_MS = 60_000;
const LOOK_MS = 100;
const MB = 1_000_000;

const main = fileURLToPath(new URL("../../../../dist/cli/main.js", import.meta.url));

interface FleetOptions {
  readonly services: number;
  readonly variant: string;
  readonly options: MeasureOptions;
}

interface Fleet {
  readonly node: ExtraNode;
  readonly namespace: string;
  readonly services: readonly string[];
  readonly members: readonly FleetProgram[];
  readonly sender: FleetProgram;
}

export async function measureFleet({ services, variant, options }: FleetOptions): Promise<Figures> {
  const shape = shapes[variant];
  if (shape === undefined) throw new Error(`There is no fleet that is connected as ${variant}.`);
  const node = await startFleetBroker(options.broker, shape.config);
  const programs: FleetProgram[] = [];
  const start = (
    ...[name, ...args]: [name: "fleet-member" | "fleet-sender", ...args: string[]]
  ): FleetProgram => {
    const program = new FleetProgram(name, { ...options, execArgv: ["--expose-gc"] }, args);
    programs.push(program);
    return program;
  };
  try {
    const namespace = `b${randomBytes(4).toString("hex")}`;
    const names = Array.from({ length: services }, (_, n) => `service-${n}`);
    const parts = portionsOf(names, Math.ceil(names.length / Math.ceil(names.length / MOST_IN_PROCESS)));
    const places = Array.from({ length: INSTANCES }, () => parts).flat();
    const urls = await makeVhosts(node, shape.vhosts);
    const { ownConnections, serves } = shape;
    const atATime = Math.ceil(CONNECTING / places.length);
    const role = JSON.stringify({ urls, namespace, ownConnections, serves, atATime } satisfies MemberRole);
    const members = places.map(() => start("fleet-member", role));
    const sender = start("fleet-sender", node.url, namespace);
    const fleet = { node, namespace, services: names, members, sender };
    const before = await all(members, (member) => member.ask("usage"));
    const connectSeconds = await timed(() =>
      all(members, (member, n) => member.ask("connect", places[n] ?? [])),
    );
    const rest = { connectSeconds, ...(await atRest(fleet, before)) };
    if (!isTalkedTo(shape)) return rest;
    return {
      ...rest,
      ...(await fromOutside(fleet)),
      eventMs: await announce(fleet),
      ...(await storm(fleet)),
    };
  } finally {
    await Promise.all(programs.map((program) => program.kill()));
    await node.stop();
  }
}

async function atRest({ node, members, services }: Fleet, before: readonly Usage[]): Promise<Figures> {
  const instances = services.length * INSTANCES;
  await sleep(SETTLE_MS);
  const usage = (): Promise<readonly Usage[]> => all(members, (member) => member.ask("usage"));
  const { pid, queues, channels, connections, processes, ...bytes } = await readBroker(node);
  const [began, brokerBegan] = [await usage(), readProcess(pid)];
  await sleep(REST_MS);
  const [ended, brokerEnded] = [await usage(), readProcess(pid)];
  const forEach = (key: keyof Usage, from: readonly Usage[]): number =>
    (sum(ended, key) - sum(from, key)) / instances;
  const brokerUsed =
    brokerBegan === undefined || brokerEnded === undefined
      ? undefined
      : brokerEnded.cpuMs - brokerBegan.cpuMs;
  return {
    queues,
    channels,
    connections,
    processes,
    brokerRssMb: brokerEnded === undefined ? undefined : brokerEnded.rssBytes / MB,
    connectionsMb: bytes.connectionBytes / MB,
    channelsMb: bytes.channelBytes / MB,
    classicMb: bytes.classicBytes / MB,
    quorumMb: bytes.quorumBytes / MB,
    brokerCpuPercent: brokerUsed === undefined ? undefined : (brokerUsed / REST_MS) * 100,
    instanceKb: forEach("rssBytes", before) / 1_000,
    instanceHeapKb: forEach("heapBytes", before) / 1_000,
    instanceCpuMs: (forEach("cpuMs", began) * 60_000) / REST_MS,
  };
}

/** How long the commands take that look at the whole fleet. */
async function fromOutside({ node, namespace }: Fleet): Promise<Figures> {
  // Nothing of it is for the home of whoever runs this.
  const env = { ...process.env, CONFLUO_STATE: "off" };
  const run = async (command: string): Promise<{ readonly out: string; readonly ms: number }> => {
    const began = performance.now();
    const args = [main, command, "--json", "--broker", node.url, "--namespace", namespace];
    const { stdout } = await promisify(execFile)(process.execPath, args, { env, maxBuffer: 2 ** 28 });
    return { out: stdout, ms: performance.now() - began };
  };
  const listed = await run("ls").catch(() => undefined);
  const found = linesIn(listed?.out ?? "[]").reduce((count, { instances }) => count + (instances ?? 0), 0);
  const examined = await run("doctor").catch(() => undefined);
  return { lsMs: listed?.ms, lsFound: found, doctorMs: examined?.ms };
}

function linesIn(json: string): readonly { readonly instances?: number }[] {
  return JSON.parse(json);
}

/** The time from the publishing of an event until the last service has handled it; of a few events, the median. */
async function announce({ members, sender, services }: Fleet): Promise<number> {
  const times: number[] = [];
  for (let event = 0; event < EVENTS; event += 1) {
    const at = await sender.ask("announce", event);
    const heard = await until(EVENT_MS, async () => {
      const each = await all(members, (member) => member.ask("heard", event));
      const count = each.reduce((sum, { count }) => sum + count, 0);
      return count < services.length ? undefined : Math.max(...each.map(({ lastAt }) => lastAt));
    });
    if (heard === undefined) throw new Error(`Not all services handled an event within ${EVENT_MS} ms.`);
    times.push(heard - at);
  }
  return median(times);
}

/** Kills the broker and starts it again, under load. */
async function storm({ node, members, sender, services }: Fleet): Promise<Figures> {
  if (node.restart === undefined) throw new Error("The broker cannot be restarted.");
  await sender.ask("load", { services, perSecond: PER_SECOND });
  await sleep(AROUND_MS);
  const began = performance.now();
  await node.restart("SIGKILL");
  const downSeconds = (performance.now() - began) / 1_000;
  const down = await all(members, (member) => member.ask("untilHealthy", HEALTHY_MS));
  const unhealthy = down.reduce((sum, count) => sum + count, 0);
  const healthySeconds = unhealthy === 0 ? (performance.now() - began) / 1_000 : undefined;
  await sleep(AROUND_MS);
  const outcomes = await sender.ask("stop");
  return { downSeconds, healthySeconds, unhealthy, ...(await settle(outcomes, members)) };
}

async function settle(outcomes: Outcomes, members: readonly FleetProgram[]): Promise<Figures> {
  const { confirmed, rejected, answered, failed } = outcomes;
  const read = async (): Promise<ReadonlyMap<number, number>> => {
    const counts = new Map<number, number>();
    for (const n of (await all(members, (member) => member.ask("handled"))).flat())
      counts.set(n, (counts.get(n) ?? 0) + 1);
    return counts;
  };
  await until(LATE_MS, async () => {
    const counts = await read();
    return confirmed.every((n) => counts.has(n)) ? true : undefined;
  });
  const counts = await read();
  const handled = confirmed.filter((n) => counts.has(n)).length;
  return {
    sent: confirmed.length + rejected.length,
    confirmed: confirmed.length,
    handled,
    lost: confirmed.length - handled,
    twice: [...counts.values()].filter((times) => times > 1).length,
    called: answered + failed,
    answered,
    failed,
  };
}

/** Resolves with what `look` finds, or with `undefined` if it finds nothing in time. */
async function until<Found>(ms: number, look: () => Promise<Found | undefined>): Promise<Found | undefined> {
  for (const end = performance.now() + ms; ; ) {
    const found = await look();
    if (found !== undefined || performance.now() > end) return found;
    await sleep(LOOK_MS);
  }
}

async function timed(act: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await act();
  return (performance.now() - began) / 1_000;
}

function all<Item, Result>(
  items: readonly Item[],
  act: (item: Item, n: number) => Promise<Result>,
): Promise<readonly Result[]> {
  return Promise.all(items.map(act));
}

function sum(usages: readonly Usage[], key: keyof Usage): number {
  return usages.reduce((total, usage) => total + usage[key], 0);
}

function portionsOf<Item>(items: readonly Item[], size: number): readonly (readonly Item[])[] {
  const count = Math.ceil(items.length / size);
  return Array.from({ length: count }, (_, n) => items.slice(n * size, (n + 1) * size));
}
