/** One run: starts the processes, lets the faults happen, stops them, drains, and adds up the ledger. */

import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Namespace } from "../../src/protocol/topology.ts";
import { deleteNamespace } from "../support/rabbitmq.ts";
import { Account } from "./account.ts";
import { Disturbances } from "./disturbances.ts";
import { drain } from "./drain.ts";
import { planFaults } from "./faults.ts";
import { type BrokerFaults, type Fleet, openFleet } from "./fleet.ts";
import { LedgerReader } from "./ledger.ts";
import { atMost } from "./limit.ts";
import type { MemberSpec } from "./member.ts";
import { type Mutation, mutantModule } from "./mutant.ts";
import { describeProgress, makeReport, type Report } from "./report.ts";
import { publisherName, serviceNames } from "./traffic.ts";

export interface TortureOptions {
  /** Of one broker or one cluster. */
  readonly brokerUrls: readonly string[];
  /** What may be done to the broker; default: nothing. */
  readonly brokerFaults?:
    | (BrokerFaults & {
        /** Mean time between two of these faults. */
        readonly everyMs: number;
        /** Nodes of the cluster; 0 for a single broker. */
        readonly nodes: number;
        /** How long after such a fault calls may still go wrong. */
        readonly recoveryMs: number;
      })
    | undefined;
  /** How long the faults go on. */
  readonly forMs: number;
  readonly seed: number;
  /** Messages a second, in all. */
  readonly rate: number;
  /** Mean time between two faults of the processes; 0 for none. */
  readonly faultEveryMs: number;
  /** Mean time between two messages that kill who handles them; 0 for none. */
  readonly poisonEveryMs: number;
  /** The longest wait for everything to be handled at the end. */
  readonly drainMs: number;
  /** File of another build of the package, which the instances of the old version run. */
  readonly beside?: string | undefined;
  /** A fault of the package itself: the run has to find it. */
  readonly mutation?: Mutation | undefined;
  /** One process of each kind instead of two. */
  readonly small?: boolean;
  /** Where ledgers and logs are kept; otherwise they are removed. */
  readonly keep?: string | undefined;
  readonly log: (line: string) => void;
  /** Ends the faults early. */
  readonly signal?: AbortSignal | undefined;
}

const progressEveryMs = 10_000;
const recoveryMs = 10_000;
/** For the last look into the queues, besides the wait for what is left. */
const drainGraceMs = 60_000;
const cleanUpMs = 30_000;
/** Never ended nor paused: its memory is what is watched. */
const steadyName = "north-0";
/** Every version of RabbitMQ takes frames as small as that. */
const frameMax = 8_192;

const specs: readonly MemberSpec[] = [
  { name: steadyName, program: "consumer", service: "north", steady: true, deployed: "first" },
  { name: "south-0", program: "consumer", service: "south", steady: false, deployed: "first" },
  {
    name: "press-0",
    program: "publisher",
    service: publisherName,
    steady: false,
    deployed: "first",
    frameMax,
  },
  { name: "north-1", program: "consumer", service: "north", steady: false, deployed: "late" },
  { name: "south-1", program: "consumer", service: "south", steady: false, deployed: "late", frameMax },
  { name: "press-1", program: "publisher", service: publisherName, steady: false, deployed: "late" },
];

const ownEntry = join(import.meta.dirname, "..", "..", "src", "index.ts");

/** Logs the report before it cleans up, and returns it. */
export async function torture(options: TortureOptions): Promise<Report> {
  const { brokerUrls, brokerFaults, seed, log, keep, mutation } = options;
  const namespace = new Namespace(`torture-${randomBytes(6).toString("hex")}`);
  const scratch = mkdtempSync(join(tmpdir(), "confluo-torture-"));
  const folder = keep ?? join(scratch, "ledgers");
  mkdirSync(folder, { recursive: true });
  const epoch = Date.now();
  const members = options.small ? specs.filter(({ deployed }) => deployed === "first") : specs;
  const publishers = members.filter(({ program }) => program === "publisher").length;
  const troubles: string[] = [];
  const onProblem = (problem: string): void => {
    troubles.push(problem);
    log(`Trouble: ${problem}`);
  };
  const disturbances = new Disturbances(() => Date.now() - epoch);
  const fleet = await openFleet({
    specs: members,
    brokerUrls,
    brokerFaults: brokerFaults ?? {},
    disturbances,
    surroundings: {
      folder,
      scratch,
      settings: {
        namespace: namespace.name,
        epoch,
        seed,
        rate: options.rate / publishers,
        poisonEveryMs: options.poisonEveryMs * publishers,
      },
      entries: { old: options.beside ?? ownEntry, new: ownEntry },
      imports: mutation === undefined ? [] : [mutantModule(mutation)],
      onProblem,
    },
  });
  const account = new Account();
  const reader = new LedgerReader(folder);
  const read = (): void => reader.readNew((fact) => account.take(fact));
  const progress = setInterval(() => {
    read();
    log(describeProgress({ at: Date.now() - epoch, account, counts: fleet.counts, steadyName }));
  }, progressEveryMs);
  try {
    await fleet.start();
    const startedAt = Date.now() - epoch;
    await letFaultsHappen(options, { fleet, members, startsAt: startedAt + epoch });
    await fleet.settle();
    const publishedUntil = Date.now() - epoch;
    await fleet.finishPublishers();
    log("The faults and the publishers have ended; waiting for what is left.");
    const { drainMs } = options;
    const draining = drain({ brokerUrls, drainMs, namespace, account, fleet, epoch, read });
    const drained = await atMost(drainMs + drainGraceMs, draining).catch((error: unknown) => {
      onProblem(`what is left could not be read: ${error}`);
      return { leftAt: Date.now() - epoch, quiet: false };
    });
    read();
    const finished = Date.now() - epoch;
    const lines = disturbances.all.map(({ from, to, who, text }) => `${from} ${to} ${who} ${text}\n`);
    writeFileSync(join(folder, "faults.log"), lines.join(""));
    const report = makeReport({
      ...drained,
      account,
      troubles,
      counts: fleet.counts,
      skipped: fleet.skipped,
      disturbances,
      members,
      recoveryMs: brokerFaults?.recoveryMs ?? recoveryMs,
      epoch,
      seed,
      startedAt,
      publishedUntil,
      finished,
      steadyName,
    });
    log(report.text);
    return report;
  } finally {
    clearInterval(progress);
    // Never in the way of a report: it is known by now.
    // A broker that only this run uses, and strikes, is thrown away with all that is in it.
    const isOwn = brokerFaults !== undefined;
    const cleaning = fleet
      .close()
      .then(() => (isOwn ? undefined : deleteNamespace(namespace.name, serviceNames)));
    await atMost(cleanUpMs, cleaning).catch((error: unknown) => {
      log(`The clean-up failed, and may have left something in ${scratch} or at the broker: ${error}`);
    });
  }
}

interface Stage {
  readonly fleet: Fleet;
  readonly members: readonly MemberSpec[];
  /** In milliseconds since 1970. */
  readonly startsAt: number;
}

async function letFaultsHappen(
  { seed, forMs, faultEveryMs, brokerFaults, signal }: TortureOptions,
  { fleet, members, startsAt }: Stage,
): Promise<void> {
  const plan = planFaults({
    seed,
    forMs,
    members,
    everyMs: faultEveryMs,
    brokerEveryMs: brokerFaults?.everyMs ?? 0,
    nodes: brokerFaults?.nodes ?? 0,
  });
  for (const { atMs, fault } of plan) {
    await wait(startsAt + atMs - Date.now(), signal);
    if (signal?.aborted) return;
    fleet.apply(fault);
  }
  await wait(startsAt + forMs - Date.now(), signal);
}

async function wait(ms: number, signal: AbortSignal | undefined): Promise<void> {
  if (ms <= 0) return;
  // Ended early: not a failure.
  await sleep(ms, undefined, signal === undefined ? {} : { signal }).catch(() => undefined);
}
