/** One run of the tool, from the choice of what is measured to the report. */

import { getBroker } from "./broker.ts";
import { describeVariants } from "./describe.ts";
import { describeMachine } from "./machine.ts";
import type { Description } from "./messages.ts";
import { startNats } from "./nats.ts";
import { findNodes, onEachNode } from "./nodes.ts";
import type { Options } from "./options.ts";
import { planSteps } from "./plan.ts";
import type { Progress } from "./progress.ts";
import { makeSections, type Report } from "./report.ts";
import { type Result, run } from "./run.ts";
import type { Chosen } from "./selection.ts";
import type { Subject } from "./subject.ts";
import { variants } from "./variants/index.ts";

export interface BenchOptions {
  readonly options: Options;
  readonly progress: Progress;
  /** Aborted: the run ends, with what was measured so far. */
  readonly signal: AbortSignal;
  /** Folder of the checkout. */
  readonly checkout: string;
}

export async function bench(chosen: readonly Chosen<Subject>[], bench: BenchOptions): Promise<Report> {
  const { options, progress, signal, checkout } = bench;
  const { rounds, seconds } = options;
  const startedAt = new Date().toISOString();
  const nodes = await findNodes(options.nodes);
  const names = Object.keys(variants).filter((name) => chosen.some((one) => one.variants.includes(name)));
  const descriptions = await describeVariants(names, { profileFolder: undefined, signal });
  const nats = [...descriptions.values()].some(({ needs }) => needs === "nats")
    ? await startNats()
    : undefined;
  // The programs that are measured find it there.
  if (nats !== undefined) process.env.CONFLUO_BENCH_NATS = nats.url;
  const able = chosen.map(({ subject, variants }) => ({
    subject,
    variants: variants.filter((name) => isAble(descriptions.get(name), subject, nats !== undefined)),
  }));
  const onNodes = onEachNode(able, nodes);
  const log = (line: string): void => progress.say(line);
  for (const [name, { needs }] of descriptions)
    if (needs === "nats" && nats === undefined) log(`Without ${name}: no nats-server is installed.`);
  try {
    const { results, rabbitmq } = await measureOnBroker(onNodes, rounds, bench);
    return {
      startedAt,
      interrupted: signal.aborted,
      machine: describeMachine(rabbitmq, checkout),
      settings: { rounds, seconds },
      variants: Object.fromEntries(
        [...descriptions].map(([name, { title, settings }]) => [name, { title, settings }]),
      ),
      sections: makeSections(results),
    };
  } finally {
    await nats?.stop();
  }
}

/** Measures what was chosen, on the broker that the options name or on one that is started and stopped, if one is needed. */
export async function measureOnBroker(
  chosen: readonly Chosen<Subject>[],
  rounds: number,
  { options, progress, signal }: BenchOptions,
): Promise<{ readonly results: readonly Result[]; readonly rabbitmq: string | undefined }> {
  const { seconds, profileFolder } = options;
  const log = (line: string): void => progress.say(line);
  const needsBroker = chosen.some(({ subject, variants }) => subject.needsBroker && variants.length > 0);
  const broker = needsBroker && !signal.aborted ? await getBroker({ ...options, log }) : undefined;
  try {
    if (broker !== undefined) log(`Broker: ${broker.description}`);
    const results = await run(planSteps(chosen, { rounds, seconds }), {
      broker: broker?.url ?? "",
      brokerPid: broker?.pid,
      seconds,
      profileFolder,
      signal,
      listener: progress,
      tidy: async () => broker?.tidy(),
    });
    return { results, rabbitmq: broker?.version };
  } finally {
    progress.end();
    await broker?.stop();
  }
}

/** Also of what nothing is known: then measuring it says why. */
function isAble(description: Description | undefined, { name, needs }: Subject, hasNats: boolean): boolean {
  if (description === undefined) return true;
  if (description.needs === "nats" && !hasNats) return false;
  return needs === undefined || (description.loads.includes(needs) && !description.refuses.includes(name));
}
