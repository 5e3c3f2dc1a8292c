/** Which faults happen when: planned in full before the run, from the seed alone. */

import { Random } from "./random.ts";

/** A fault of one node of a cluster: ended and started again, cut off from its peers alone, or from everybody. */
export interface NodeFault {
  readonly kind: "kill node" | "stop node" | "isolate node" | "cut node";
  /** From 0. */
  readonly node: number;
  /** How long it is away, or cut off. */
  readonly lastsMs: number;
}

export type Fault =
  /** Ended, by SIGKILL or SIGTERM, and started again some time later. */
  | { readonly kind: "kill" | "terminate"; readonly member: string; readonly awayMs: number }
  /** Stopped by SIGSTOP for a while; with `stall`, by work of its own that keeps its event loop busy. */
  | { readonly kind: "pause" | "stall"; readonly member: string; readonly lastsMs: number }
  /** What the broker says does not arrive for a while; then the connections are cut. */
  | { readonly kind: "mute"; readonly member: string; readonly lastsMs: number }
  | { readonly kind: "cut"; readonly member: string }
  /** No fault, but a lot at once: a publisher publishes and sends so many messages in one turn. */
  | { readonly kind: "burst"; readonly member: string; readonly count: number }
  /** Cuts the connections of all processes at once. */
  | { readonly kind: "cut all" }
  | { readonly kind: "kill broker" | "stop broker" }
  | NodeFault;

export type FaultKind = Fault["kind"];

export interface PlannedFault {
  readonly atMs: number;
  readonly fault: Fault;
}

export interface Plan {
  readonly seed: number;
  readonly forMs: number;
  /** The processes, by name. `steady` ones are neither ended nor paused. */
  readonly members: readonly {
    readonly name: string;
    readonly steady: boolean;
    readonly program: "consumer" | "publisher";
  }[];
  /** Mean time between two faults of processes; 0 for none. */
  readonly everyMs: number;
  /** Mean time between two restarts of the broker, or two faults of the cluster's nodes; 0 for none. */
  readonly brokerEveryMs: number;
  /** Nodes of the cluster; 0 for a broker of its own. */
  readonly nodes: number;
}

const quietAtFirstMs = 2_000;
const mostBurst = 1_500;

const weights: readonly (readonly [
  number,
  "kill" | "terminate" | "pause" | "stall" | "mute" | "cut" | "cut all" | "burst",
])[] = [
  [26, "kill"],
  [17, "terminate"],
  [12, "pause"],
  [10, "stall"],
  [21, "cut"],
  [5, "mute"],
  [3, "cut all"],
  [6, "burst"],
];

export function planFaults(plan: Plan): readonly PlannedFault[] {
  const faults = [...planProcessFaults(plan), ...planBrokerFaults(plan)];
  return faults.sort((a, b) => a.atMs - b.atMs);
}

function* planProcessFaults({ seed, forMs, members, everyMs }: Plan): Generator<PlannedFault> {
  if (everyMs === 0) return;
  const random = new Random(`faults ${seed}`);
  const mortal = members.filter(({ steady }) => !steady);
  const publishers = members.filter(({ program }) => program === "publisher");
  let atMs = quietAtFirstMs;
  for (;;) {
    atMs += random.between(everyMs * 0.2, everyMs * 1.8);
    if (atMs >= forMs) return;
    const kind = random.weigh(weights);
    const any = random.pick(members).name;
    const member = random.pick(mortal).name;
    const publisher = random.pick(publishers).name;
    const awayMs = random.between(0, 3_000);
    const mostMs = kind === "stall" ? 12_000 : kind === "pause" ? 8_000 : 4_000;
    const lastsMs = random.between(1_000, mostMs);
    const count = random.between(200, mostBurst);
    switch (kind) {
      case "kill":
      case "terminate":
        yield { atMs, fault: { kind, member, awayMs } };
        break;
      case "pause":
      case "stall":
        yield { atMs, fault: { kind, member, lastsMs } };
        break;
      case "mute":
        yield { atMs, fault: { kind, member: any, lastsMs } };
        break;
      case "cut":
        yield { atMs, fault: { kind, member: any } };
        break;
      case "burst":
        yield { atMs, fault: { kind, member: publisher, count } };
        break;
      case "cut all":
        yield { atMs, fault: { kind } };
        break;
      default:
        kind satisfies never;
    }
  }
}

function* planBrokerFaults({ seed, forMs, brokerEveryMs, nodes }: Plan): Generator<PlannedFault> {
  if (brokerEveryMs === 0) return;
  const random = new Random(`broker ${seed}`);
  let atMs = 0;
  for (;;) {
    atMs += random.between(brokerEveryMs * 0.6, brokerEveryMs * 1.4);
    if (atMs >= forMs) return;
    if (nodes === 0) yield { atMs, fault: { kind: random.pick(["kill broker", "stop broker"] as const) } };
    else {
      const kind = random.pick(["kill node", "stop node", "isolate node", "cut node"] as const);
      const node = Math.floor(random.next() * nodes);
      // Long enough for the others to miss a node that is cut off.
      yield { atMs, fault: { kind, node, lastsMs: random.between(3_000, 20_000) } };
    }
  }
}

/** In a few words. */
export function describeFault(fault: Fault): string {
  switch (fault.kind) {
    case "kill":
    case "terminate":
      return `${fault.kind} ${fault.member}, away for ${fault.awayMs} ms`;
    case "pause":
    case "stall":
    case "mute":
      return `${fault.kind} ${fault.member} for ${fault.lastsMs} ms`;
    case "burst":
      return `burst of ${fault.count} by ${fault.member}`;
    case "cut":
      return `cut ${fault.member}`;
    case "cut all":
    case "kill broker":
    case "stop broker":
      return fault.kind;
    case "kill node":
    case "stop node":
    case "isolate node":
    case "cut node":
      return `${fault.kind} ${fault.node} for ${fault.lastsMs} ms`;
    default:
      return fault satisfies never;
  }
}
