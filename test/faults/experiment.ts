/** One fault from before it begins until all is well again, and what came of it for each verb. */

import { eventually } from "../../src/testing/index.ts";
import { type Fault, Stage, type StageOptions } from "./stage.ts";
import { timeoutMs, type Verb, verbs } from "./traffic.ts";

/** A cell of the matrix. */
export interface Cell {
  readonly verb: Verb;
  /** Codes with their counts, `done` among them. */
  readonly seen: ReadonlyMap<string, number>;
  readonly longestWaitMs: number;
  /** Did not settle at all, or later than its deadline and some slack. */
  readonly late: number;
  /** Confirmed, and neither handled nor found in a queue for such. */
  readonly lost: number;
  /** Neither handled nor dead-lettered, but kept among the orphans. */
  readonly orphaned: number;
  /** Handled, or dead-lettered, more than once. */
  readonly twice: number;
}

export interface Outcome {
  readonly fault: Fault;
  readonly cells: readonly Cell[];
  readonly wrong: readonly string[];
  /** What the services said meanwhile. */
  readonly log: readonly string[];
  /** From the end of the fault until every verb had worked again. */
  readonly recoveredMs: number;
}

/** For a process that is busy: what is tested is that there is a bound. */
const slackMs = 2_000;
const recoverMs = 20_000;
const drainMs = 30_000;
const inFlight = 4;

export async function runExperiment(fault: Fault, options: StageOptions): Promise<Outcome> {
  const stage = await Stage.open(fault, options);
  const { traffic } = stage;
  try {
    await stage.readLetters();
    await traffic.works(recoverMs);
    traffic.askAll(inFlight);
    await eventually(() => traffic.running > 0, "a handler at work");
    const stopAsking = traffic.askOn();
    try {
      await fault.strike(stage);
    } finally {
      stopAsking();
    }
    traffic.askAll(inFlight);
    await stage.readLetters();
    const recoveredMs = await traffic.works(recoverMs);
    await traffic.settled();
    // What may be gone is not waited for beyond what was asked after it.
    await traffic.works(recoverMs);
    const isComplete = (): boolean =>
      verbs.every((verb) => fault.mayLose.includes(verb) || traffic.missing(verb) === 0);
    await eventually(isComplete, "all that was confirmed", { timeoutMs: drainMs }).catch(() => undefined);
    const cells = verbs.map((verb) => cellOf(stage, verb));
    return { fault, cells, wrong: traffic.wrong, log: stage.log, recoveredMs };
  } finally {
    await stage.close();
  }
}

function cellOf({ traffic }: Stage, verb: Verb): Cell {
  const all = traffic.of(verb);
  const seen = new Map<string, number>();
  for (const { outcome = "never settled" } of all) seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
  return {
    verb,
    seen,
    longestWaitMs: Math.max(...all.map(({ waitedMs }) => waitedMs)),
    late: all.filter(({ outcome, waitedMs }) => outcome === undefined || waitedMs > timeoutMs + slackMs)
      .length,
    lost: traffic.missing(verb),
    orphaned: all.filter(({ orphaned, ended }) => orphaned && ended === 0).length,
    twice: all.filter(({ ended }) => ended > 1).length,
  };
}
