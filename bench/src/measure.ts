/** One measurement: fresh processes for one variant in one case. */

import { readFileSync } from "node:fs";
import type { Case, Load } from "./case.ts";
import type { Launch } from "./launch.ts";
import type { Sent } from "./messages.ts";
import type { Program } from "./program.ts";
import { percentile } from "./statistics.ts";
import { Troupe } from "./troupe.ts";

/** What one measurement gave. CPU is in microseconds for each message. */
export interface Measured {
  readonly perSecond: number;
  /** Of calls, milliseconds. */
  readonly latency: { readonly p50: number; readonly p99: number } | undefined;
  readonly cpu: {
    readonly requester: number;
    /** Of all handlers together. */
    readonly handlers: number;
    /** Unknown where the broker is not a process of this machine. */
    readonly broker: number | undefined;
  };
}

export interface MeasureOptions extends Launch {
  /** Its URL. */
  readonly broker: string;
  /** Where the broker is a process of this machine and it is known which. */
  readonly brokerPid: number | undefined;
  readonly seconds: number;
}

/** How long the load runs before it counts, as a share of how long it counts. */
export const WARM_UP_SHARE = 0.8;

const WARM_IN_FLIGHT = 64;
/** So that one after the other makes some ten thousand, too. */
const ONE_BY_ONE_SHARE = 2;

/** How long a case that begins cold counts. */
const COLD_SECONDS = 5;

/** Returns how many seconds a case's load runs, before it counts and while it does. */
export function loadSeconds({ load, cold }: Case, seconds: number): number {
  return cold ? COLD_SECONDS : seconds * (1 + WARM_UP_SHARE / 2 + ownShare(load));
}

function ownShare(load: Load): number {
  return load.kind === "calls" && load.inFlight === 1 ? ONE_BY_ONE_SHARE : WARM_UP_SHARE / 2;
}

// A few thousand messages, one after the other, are too few for V8 to have compiled what is measured. Then as it is
// measured, since some go other ways when they are few: what travels together is fewer messages.
function warming(load: Load): Load {
  if (load.kind === "arrivals") return { kind: "calls", inFlight: WARM_IN_FLIGHT };
  if (load.kind !== "calls") return load;
  return { kind: "calls", inFlight: Math.max(load.inFlight, WARM_IN_FLIGHT) };
}

export async function measure(variant: string, measured: Case, options: MeasureOptions): Promise<Measured> {
  const troupe = new Troupe(variant, measured, options);
  try {
    const handlers: Handlers = [];
    for (let i = 0; i < measured.services; i += 1) {
      const instances: Program[] = [];
      for (let j = 0; j < measured.instances; j += 1) instances.push(await troupe.start(`service-${i}`));
      handlers.push(instances);
    }
    const requester = await troupe.start();
    const { load, cold } = measured;
    const ms = (cold ? COLD_SECONDS : options.seconds) * 1_000;
    if (!cold) {
      await run(requester, handlers, { ...measured, load: warming(load) }, (ms * WARM_UP_SHARE) / 2);
      await run(requester, handlers, measured, ms * ownShare(load));
    }
    const all = handlers.flat();
    const before = await sample(requester, all, options.brokerPid);
    const { sent, endedAt } = await run(requester, handlers, measured, ms);
    const after = await sample(requester, all, options.brokerPid);
    const per = (began: number | undefined, ended: number | undefined): number | undefined =>
      began === undefined || ended === undefined ? undefined : (ended - began) / sent.count;
    return {
      perSecond: (sent.count / (endedAt - sent.beganAt)) * 1_000,
      latency: latencyOf(sent, measured),
      cpu: {
        requester: per(before.requester, after.requester) ?? 0,
        handlers: per(before.handlers, after.handlers) ?? 0,
        broker: per(before.broker, after.broker),
      },
    };
  } finally {
    await troupe.end();
  }
}

/** By service, its instances. */
type Handlers = Program[][];

async function run(
  requester: Program,
  handlers: Handlers,
  { load }: Case,
  ms: number,
): Promise<{ readonly sent: Sent; readonly endedAt: number }> {
  const { sent } = await requester.ask({ kind: "load", load, ms }, "sent", ms);
  if (load.kind === "calls" || load.kind === "arrivals") return { sent, endedAt: sent.endedAt };
  // One instance each, here: nobody knows which of several gets what.
  const counting = handlers.map(async ([only]) => {
    const counted = await only?.ask({ kind: "count", until: sent.count }, "counted");
    return counted?.at ?? 0;
  });
  return { sent, endedAt: Math.max(...(await Promise.all(counting))) };
}

function latencyOf({ latencies }: Sent, { load }: Case): Measured["latency"] {
  if (load.kind !== "calls" && load.kind !== "arrivals") return undefined;
  latencies.sort();
  return { p50: percentile(latencies, 0.5), p99: percentile(latencies, 0.99) };
}

interface Sample {
  readonly requester: number;
  readonly handlers: number;
  readonly broker: number | undefined;
}

async function sample(
  requester: Program,
  handlers: readonly Program[],
  brokerPid: number | undefined,
): Promise<Sample> {
  const [own, ...others] = await Promise.all([requester, ...handlers].map((program) => program.cpu()));
  return {
    requester: own ?? 0,
    handlers: others.reduce((sum, us) => sum + us, 0),
    broker: brokerPid === undefined ? undefined : cpuOf(brokerPid),
  };
}

// Linux counts in ticks of 10 ms.
function cpuOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) * 10_000;
  } catch {
    return undefined;
  }
}
