/** The results of two builds that were measured in pairs, as they are shown and kept. */

import type { Machine } from "./machine.ts";
import type { Result } from "./run.ts";
import { median, type Ratio, summarizeRatios } from "./statistics.ts";
import type { Figures } from "./subject.ts";

/** The two builds: that of the revision and that of the working tree. */
export type Build = "old" | "new";

/** What both gave, one directly after the other. */
export type Pair = Readonly<Record<Build, Figures>>;

/** A figure of both builds, over all pairs. */
export interface Compared {
  /** Medians. */
  readonly old: number;
  readonly new: number;
  /** New by old. */
  readonly ratio: Ratio;
}

/** One case, or rather one case of one way to write its programs. */
export interface ComparedCase {
  /** Such as `calls-64/confluo`. */
  readonly name: string;
  readonly title: string;
  readonly pairs: readonly Pair[];
  /** By key of the figures, and `cpuUs`, the sum of what is known of the CPU; without those that are not known in all pairs. */
  readonly figures: Readonly<Record<string, Compared>>;
  /** Why a build failed, if one did. */
  readonly failures: Readonly<Partial<Record<Build, string>>>;
}

export interface Comparison {
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  /** Whether it was ended early. */
  readonly interrupted: boolean;
  /** Its `commit` is the one that the working tree is at. */
  readonly machine: Machine;
  readonly settings: { readonly pairs: number; readonly seconds: number };
  /** What `--compare` named, and the commit that this is. */
  readonly old: { readonly revision: string; readonly commit: string };
  readonly cases: readonly ComparedCase[];
}

/** Puts the results of both builds together, in the order in which they come. */
export function pairResults(results: readonly Result[]): readonly ComparedCase[] {
  const subjects = [...new Set(results.map(({ subject }) => subject))];
  return subjects.map((subject) => {
    const of = (build: Build): Result | undefined =>
      results.find((result) => result.subject === subject && result.variant === build);
    const [before, after] = [of("old"), of("new")];
    // A build's rounds have no gaps: a failure ends them.
    const pairs = (before?.rounds ?? []).flatMap((old, round) => {
      const figures = after?.rounds[round];
      return figures === undefined ? [] : [{ old, new: figures }];
    });
    const failures = {
      ...(before?.failure === undefined ? {} : { old: before.failure }),
      ...(after?.failure === undefined ? {} : { new: after.failure }),
    };
    const { name, title } = subject;
    return { name, title, pairs, figures: compareFigures(pairs), failures };
  });
}

const CPU_KEYS = ["requesterUs", "handlersUs", "brokerUs"];

function compareFigures(pairs: readonly Pair[]): ComparedCase["figures"] {
  const keys = [...new Set(pairs.flatMap((pair) => Object.keys(pair.old)))];
  const knownCpu = CPU_KEYS.filter((key) => pairs.every((pair) => isKnown(pair, key)));
  const cpuOf = (figures: Figures): number => knownCpu.reduce((us, key) => us + (figures[key] ?? 0), 0);
  const withCpu = pairs.map((pair) => ({
    old: { ...pair.old, cpuUs: cpuOf(pair.old) },
    new: { ...pair.new, cpuUs: cpuOf(pair.new) },
  }));
  return Object.fromEntries(
    [...keys, "cpuUs"].flatMap((key) => {
      const compared = compareFigure(withCpu, key);
      return compared === undefined ? [] : [[key, compared]];
    }),
  );
}

function isKnown(pair: Pair, key: string): boolean {
  return pair.old[key] !== undefined && pair.new[key] !== undefined;
}

/** Returns nothing for a figure that is unknown, or zero, somewhere: there is no ratio then. */
function compareFigure(pairs: readonly Pair[], key: string): Compared | undefined {
  const before = pairs.map((pair) => pair.old[key] ?? 0);
  const after = pairs.map((pair) => pair.new[key] ?? 0);
  if (pairs.length === 0 || [...before, ...after].some((value) => value <= 0)) return undefined;
  const ratios = after.map((value, i) => value / (before[i] as number));
  return { old: median(before), new: median(after), ratio: summarizeRatios(ratios) };
}
