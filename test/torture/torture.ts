/** One run: starts the processes, lets the faults happen, stops them, drains, and adds up the ledger. */

import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Broker, silentLogger } from "../../src/index.ts";
import { Namespace } from "../../src/protocol/topology.ts";
import { deleteNamespace } from "../support/rabbitmq.ts";
import { Account } from "./account.ts";
import { describeFault, planFaults } from "./faults.ts";
import { type Fleet, openFleet } from "./fleet.ts";
import { LedgerReader } from "./ledger.ts";
import { readQueue } from "./letters.ts";
import type { MemberSpec } from "./member.ts";
import { describeProgress, makeReport, type Report } from "./report.ts";
import { publisherName, serviceNames } from "./traffic.ts";

export interface TortureOptions {
  /** Of one broker or one cluster. */
  readonly brokerUrls: readonly string[];
  /** For a broker that may be restarted. */
  readonly restartBroker?: ((signal: "SIGKILL" | "SIGTERM") => Promise<void>) | undefined;
  /** How long the faults go on. */
  readonly forMs: number;
  readonly seed: number;
  /** Messages a second, in all. */
  readonly rate: number;
  /** Mean time between two faults. */
  readonly faultEveryMs: number;
  /** The longest wait for everything to be handled at the end. */
  readonly drainMs: number;
  /** Where ledgers and logs are kept; otherwise they are removed. */
  readonly keep?: string | undefined;
  readonly log: (line: string) => void;
  /** Ends the faults early. */
  readonly signal?: AbortSignal | undefined;
}

const brokerEveryMs = 40_000;
const progressEveryMs = 10_000;
/** Never ended nor paused: its memory is what is watched. */
const steadyName = "north-0";

const specs: readonly MemberSpec[] = [
  { name: steadyName, program: "consumer", service: "north", steady: true },
  { name: "north-1", program: "consumer", service: "north", steady: false },
  { name: "south-0", program: "consumer", service: "south", steady: false },
  { name: "south-1", program: "consumer", service: "south", steady: false },
  { name: "press-0", program: "publisher", service: publisherName, steady: false },
  { name: "press-1", program: "publisher", service: publisherName, steady: false },
];

export async function torture(options: TortureOptions): Promise<Report> {
  const { brokerUrls, restartBroker, seed, rate, forMs, log, keep } = options;
  const namespace = new Namespace(`torture-${randomBytes(6).toString("hex")}`);
  const scratch = mkdtempSync(join(tmpdir(), "confluo-torture-"));
  const folder = keep ?? join(scratch, "ledgers");
  mkdirSync(folder, { recursive: true });
  const epoch = Date.now();
  const troubles: string[] = [];
  const fleet = await openFleet({
    specs,
    brokerUrls,
    restartBroker,
    surroundings: {
      folder,
      scratch,
      settings: { namespace: namespace.name, epoch, seed, rate: rate / 2 },
      onProblem: (problem) => {
        troubles.push(problem);
        log(`Trouble: ${problem}`);
      },
    },
  });
  const account = new Account();
  const reader = new LedgerReader(folder);
  const happened: { readonly at: number; readonly text: string }[] = [];
  const read = (): void => reader.readNew((fact) => account.take(fact));
  const progress = setInterval(() => {
    read();
    log(describeProgress({ at: Date.now() - epoch, account, counts: fleet.counts, steadyName }));
  }, progressEveryMs);
  try {
    await fleet.start();
    const startedAt = Date.now() - epoch;
    const plan = planFaults({
      seed,
      forMs,
      members: specs,
      everyMs: options.faultEveryMs,
      brokerEveryMs: restartBroker === undefined ? 0 : brokerEveryMs,
    });
    for (const { atMs, fault } of plan) {
      await wait(startedAt + epoch + atMs - Date.now(), options.signal);
      if (options.signal?.aborted) break;
      const at = Date.now() - epoch;
      if (fleet.apply(fault)) happened.push({ at, text: describeFault(fault) });
    }
    await wait(startedAt + epoch + forMs - Date.now(), options.signal);
    await fleet.settle();
    const publishedUntil = Date.now() - epoch;
    await fleet.finishPublishers();
    log("The faults and the publishers have ended; waiting for what is left.");
    const delayed = await drain({ ...options, namespace, account, fleet, read });
    read();
    const finished = Date.now() - epoch;
    const faults = happened.map(({ at, text }) => `${at} ${text}\n`);
    writeFileSync(join(folder, "faults.log"), faults.join(""));
    return makeReport({
      account,
      troubles,
      happened,
      counts: fleet.counts,
      skipped: fleet.skipped,
      brokerDown: fleet.brokerDown,
      delayed,
      seed,
      startedAt,
      publishedUntil,
      finished,
      steadyName,
    });
  } finally {
    clearInterval(progress);
    await fleet.close();
    await deleteNamespace(namespace.name, serviceNames);
  }
}

interface Draining extends TortureOptions {
  readonly namespace: Namespace;
  readonly account: Account;
  readonly fleet: Fleet;
  readonly read: () => void;
}

/**
 * Waits until all that was confirmed is handled or dead-lettered, lets the consumers leave, and takes what lies in the
 * dead-letter queues and the inboxes.
 *
 * @returns whether something still waits in a delay queue.
 */
async function drain({ brokerUrls, drainMs, namespace, account, fleet, read }: Draining): Promise<boolean> {
  const broker = new Broker(brokerUrls, { namespace: namespace.name, logger: silentLogger });
  const wire = await broker.open();
  try {
    const takeLetters = await collect(serviceNames, async (service) => {
      const reading = await readQueue(wire, namespace.dead(service));
      return () => {
        for (const letter of reading.take()) account.takeLetter(service, letter);
      };
    });
    const deadline = Date.now() + drainMs;
    for (;;) {
      read();
      takeLetters();
      if (serviceNames.every((service) => account.countOpen(service) === 0)) break;
      if (Date.now() > deadline) break;
      await sleep(250);
    }
    await fleet.leave();
    const takeLeft = await collect(serviceNames, async (service) => {
      const reading = await readQueue(wire, namespace.inbox(service));
      return () => {
        for (const letter of reading.take()) account.takeLeft(service, letter);
      };
    });
    // Letters of the last handlings, and what the inboxes still hold.
    const queues = serviceNames.flatMap((service) => [namespace.dead(service), namespace.inbox(service)]);
    let quiet = 0;
    while (quiet < 4 && Date.now() < deadline + 30_000) {
      await sleep(250);
      takeLetters();
      takeLeft();
      quiet = (await count(wire, queues)) === 0 ? quiet + 1 : 0;
    }
    takeLetters();
    takeLeft();
    return (
      (await count(
        wire,
        namespace.sharedQueues().map(({ name }) => name),
      )) > 0
    );
  } finally {
    await wire.close();
  }
}

async function collect<Name>(
  names: readonly Name[],
  open: (name: Name) => Promise<() => void>,
): Promise<() => void> {
  const takes = await Promise.all(names.map(open));
  return () => {
    for (const take of takes) take();
  };
}

async function count(wire: Awaited<ReturnType<Broker["open"]>>, queues: readonly string[]): Promise<number> {
  let messages = 0;
  for (const queue of queues) messages += (await wire.inspectQueue(queue))?.messages ?? 0;
  return messages;
}

async function wait(ms: number, signal: AbortSignal | undefined): Promise<void> {
  if (ms <= 0) return;
  // Ended early: not a failure.
  await sleep(ms, undefined, signal === undefined ? {} : { signal }).catch(() => undefined);
}
