/** Which faults happen when: planned in full before the run, from the seed alone. */

import { Random } from "./random.ts";

export type Fault =
  /** Ended, by SIGKILL or SIGTERM, and started again some time later. */
  | { readonly kind: "kill" | "terminate"; readonly member: string; readonly awayMs: number }
  /** Stopped by SIGSTOP for a while. */
  | { readonly kind: "pause"; readonly member: string; readonly lastsMs: number }
  /** What the broker says does not arrive for a while; then the connections are cut. */
  | { readonly kind: "mute"; readonly member: string; readonly lastsMs: number }
  | { readonly kind: "cut"; readonly member: string }
  /** Cuts the connections of all processes at once. */
  | { readonly kind: "cut all" }
  | { readonly kind: "kill broker" | "stop broker" };

export type FaultKind = Fault["kind"];

export interface PlannedFault {
  readonly atMs: number;
  readonly fault: Fault;
}

export interface Plan {
  readonly seed: number;
  readonly forMs: number;
  /** The processes, by name. `steady` ones lose connections only. */
  readonly members: readonly { readonly name: string; readonly steady: boolean }[];
  /** Mean time between two faults. */
  readonly everyMs: number;
  /** Mean time between two restarts of the broker; 0 for none. */
  readonly brokerEveryMs: number;
}

const quietAtFirstMs = 2_000;

const weights: readonly (readonly [number, "kill" | "terminate" | "pause" | "mute" | "cut" | "cut all"])[] = [
  [30, "kill"],
  [20, "terminate"],
  [15, "pause"],
  [25, "cut"],
  [6, "mute"],
  [4, "cut all"],
];

export function planFaults(plan: Plan): readonly PlannedFault[] {
  const faults = [...planProcessFaults(plan), ...planBrokerFaults(plan)];
  return faults.sort((a, b) => a.atMs - b.atMs);
}

function* planProcessFaults({ seed, forMs, members, everyMs }: Plan): Generator<PlannedFault> {
  const random = new Random(`faults ${seed}`);
  const mortal = members.filter(({ steady }) => !steady);
  let atMs = quietAtFirstMs;
  for (;;) {
    atMs += random.between(everyMs * 0.2, everyMs * 1.8);
    if (atMs >= forMs) return;
    const kind = random.weigh(weights);
    const any = random.pick(members).name;
    const member = random.pick(mortal).name;
    const awayMs = random.between(0, 3_000);
    const lastsMs = random.between(1_000, kind === "pause" ? 8_000 : 4_000);
    switch (kind) {
      case "kill":
      case "terminate":
        yield { atMs, fault: { kind, member, awayMs } };
        break;
      case "pause":
        yield { atMs, fault: { kind, member, lastsMs } };
        break;
      case "mute":
        yield { atMs, fault: { kind, member: any, lastsMs } };
        break;
      case "cut":
        yield { atMs, fault: { kind, member: any } };
        break;
      case "cut all":
        yield { atMs, fault: { kind } };
        break;
      default:
        kind satisfies never;
    }
  }
}

function* planBrokerFaults({ seed, forMs, brokerEveryMs }: Plan): Generator<PlannedFault> {
  if (brokerEveryMs === 0) return;
  const random = new Random(`broker ${seed}`);
  let atMs = 0;
  for (;;) {
    atMs += random.between(brokerEveryMs * 0.6, brokerEveryMs * 1.4);
    if (atMs >= forMs) return;
    yield { atMs, fault: { kind: random.pick(["kill broker", "stop broker"] as const) } };
  }
}

/** In a few words. */
export function describeFault(fault: Fault): string {
  switch (fault.kind) {
    case "kill":
    case "terminate":
      return `${fault.kind} ${fault.member}, away for ${fault.awayMs} ms`;
    case "pause":
    case "mute":
      return `${fault.kind} ${fault.member} for ${fault.lastsMs} ms`;
    case "cut":
      return `cut ${fault.member}`;
    case "cut all":
    case "kill broker":
    case "stop broker":
      return fault.kind;
    default:
      return fault satisfies never;
  }
}
