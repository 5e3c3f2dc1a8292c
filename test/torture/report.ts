/** What a run has shown, as figures for the tests and as a table for people. */

import type { Account } from "./account.ts";
import { type Disturbances, theBroker } from "./disturbances.ts";
import type { Problem, ServiceTotals } from "./duty.ts";
import type { FaultKind } from "./faults.ts";
import { findLongestStall, type Stretch } from "./stalls.ts";
import { isPoisonFor, onPurpose, readId, type ServiceName, serviceNames } from "./traffic.ts";
import { type Circumstances, judge } from "./verdicts.ts";

export interface Evidence {
  readonly account: Account;
  /** What the tool itself saw go wrong: processes that ended by themselves or did not end. */
  readonly troubles: readonly string[];
  readonly counts: ReadonlyMap<FaultKind, number>;
  readonly skipped: number;
  readonly disturbances: Disturbances;
  readonly members: Circumstances["members"];
  readonly recoveryMs: number;
  readonly epoch: number;
  readonly leftAt: number;
  readonly quiet: boolean;
  readonly seed: number;
  readonly startedAt: number;
  readonly publishedUntil: number;
  readonly finished: number;
  readonly steadyName: string;
}

export interface Report {
  readonly lost: number;
  /** Verbs and processes that did not end in time, and messages left in an inbox. */
  readonly hung: number;
  readonly wrong: number;
  /** Calls whose handler ended in good time while nothing disturbed it or the caller, and that got no answer. */
  readonly unanswered: number;
  /** Other rejections, time-outs above all, without a disturbance near. */
  readonly unexplained: number;
  readonly handled: number;
  /** All of it together: not 0 for a run that failed. */
  readonly problems: number;
  readonly text: string;
}

const mostShown = 20;

export function makeReport(evidence: Evidence): Report {
  const { account, troubles } = evidence;
  const totals = serviceNames.map((name) => account.total(name, evidence));
  const sum = (field: (of: ServiceTotals) => number): number =>
    totals.reduce((all, of) => all + field(of), 0);
  const problems = [...account.problems, ...totals.flatMap((of) => of.problems), ...judge(evidence)];
  const count = (what: Problem["what"]): number => problems.filter((one) => one.what === what).length;
  const found = {
    lost: sum(({ lost }) => lost),
    hung: count("hung") + count("left") + troubles.length,
    wrong: count("wrong") + account.strangeLetters,
    unanswered: count("unanswered"),
    unexplained: count("unexplained"),
  };
  const kinds = new Set(problems.map(({ what }) => what));
  const shown = [...kinds].flatMap((kind) =>
    problems.filter(({ what }) => what === kind).slice(0, mostShown),
  );
  const lines = [
    ...describeRun(evidence),
    ...describeServices(totals),
    ...describeInnocents(evidence),
    ...describeStalls(evidence),
    ...describeCalls(evidence),
    ...describeFaults(evidence),
    ...describeMemory(evidence),
    ...shown.map(({ what, story }) => `${what}: ${story}`),
    ...troubles.map((trouble) => `trouble: ${trouble}`),
    `${Object.entries(found)
      .map(([what, number]) => `${number} ${what}`)
      .join(", ")}.`,
  ];
  const all = Object.values(found).reduce((before, number) => before + number, 0);
  return { ...found, handled: sum(({ handled }) => handled), problems: all, text: lines.join("\n") };
}

/** One line on how far a run is. */
export function describeProgress({
  at,
  account,
  counts,
  steadyName,
}: Pick<Evidence, "account" | "counts" | "steadyName"> & { readonly at: number }): string {
  const { confirmed, handlings, problems } = account;
  const unhandled = serviceNames.map((name) => account.countUnhandled(name)).join(" and ");
  const faults = [...counts.values()].reduce((all, one) => all + one, 0);
  return [
    `${clock(at)}  confirmed ${figure(confirmed.publish)} events, ${figure(confirmed.send)} commands`,
    `handlings ${figure(handlings)}`,
    `unhandled ${unhandled}`,
    `calls settled ${figure(account.callsAsked - account.callsCutShort)} of ${figure(account.callsAsked)}`,
    `faults ${faults}`,
    `memory ${megabytes(memoryOf(account, steadyName).at(-1)?.bytes)}`,
    ...(problems.length > 0 ? [`problems ${problems.length}`] : []),
  ].join(", ");
}

function describeRun({ account, seed, startedAt, publishedUntil, finished }: Evidence): string[] {
  const { confirmed, rejections } = account;
  return [
    "",
    `Seed ${seed}. Published for ${clock(publishedUntil - startedAt)}, drained in ${clock(finished - publishedUntil)}.`,
    "",
    row("confirmed: events, commands", [figure(confirmed.publish), figure(confirmed.send)]),
    row("rejected, outcome unknown", [counted(rejections)]),
    "",
  ];
}

function describeServices(totals: readonly ServiceTotals[]): string[] {
  const each = (label: string, field: (of: ServiceTotals) => number | string): string => {
    const values = totals.map((of) => field(of));
    return row(
      label,
      values.map((value) => (typeof value === "number" ? figure(value) : value)),
    );
  };
  return [
    row("events and commands, by service", [...serviceNames]),
    each("confirmed", (of) => of.confirmed),
    each("  handled", (of) => of.handled),
    each("  dead-lettered", (of) => of.deadLettered),
    each("  waiting for a retry", (of) => of.waiting),
    each("  left in the inbox", (of) => of.left),
    each("  lost", (of) => of.lost),
    each("handled twice or more", (of) => of.handledTwice),
    each("  share", (of) => percent(of.handledTwice, of.handledInAll)),
    each("handled, yet not confirmed", (of) => of.unconfirmedHandled),
    each("failed on purpose", (of) => of.failedOnPurpose),
    each("  then dead-lettered", (of) => of.failedThenDeadLettered),
    each("  then handled by a retry", (of) => of.failedThenHandled),
    each("dead-lettered twice or more", (of) => of.deadLetteredTwice),
    each("dead-lettered and handled", (of) => of.handledAndDeadLettered),
    each("poison: messages, most deaths of one", (of) => `${of.poisoned}, ${of.mostDeaths}`),
    each("dead letters of other codes", (of) => otherCodes(of.codes)),
  ];
}

// Each had as many losses about it as explain it; otherwise it is a problem.
function describeInnocents({ account, epoch }: Evidence): string[] {
  const innocent = account.letters.filter(
    ({ id, code, service }) =>
      code === "INSTANCE_LOST" && id !== undefined && !isPoisonFor(service, readId(id)),
  );
  return [
    row("dead letters of innocents", [figure(innocent.length)]),
    ...innocent
      .map(({ id, service, failedAt = Number.NaN }) => `  ${service} ${id}, at ${failedAt - epoch} ms`)
      .slice(0, mostShown),
  ];
}

// A node of a cluster is not missed: the others go on.
function brokerDown({ disturbances }: Evidence): readonly Stretch[] {
  return disturbances.all.filter(({ who, text }) => who === theBroker && text.endsWith("broker"));
}

function describeStalls(evidence: Evidence): string[] {
  const { account, publishedUntil, disturbances } = evidence;
  const stalls = serviceNames.map((name: ServiceName) => {
    // While it drains, only what is left can be handled.
    const work = account.workload(name);
    const progress = work.progress.filter((at) => at < publishedUntil);
    return findLongestStall({
      work: work.work,
      progress,
      brokerDown: brokerDown(evidence),
      end: publishedUntil,
    });
  });
  const around = stalls.flatMap((stall, index) => {
    if (stall === undefined) return [];
    const before = disturbances.all.filter(({ from, to }) => to > stall.from - 2_000 && from < stall.to);
    const faults = before
      .map(({ from, who, text }) => `${(from / 1_000).toFixed(1)} ${who}: ${text}`)
      .join("; ");
    const when = `${(stall.from / 1_000).toFixed(1)} to ${(stall.to / 1_000).toFixed(1)} s`;
    return [`  ${serviceNames[index]}, ${when}: ${faults || "no fault about it"}`];
  });
  const lengths = stalls.map((stall) => `${((stall?.ms ?? 0) / 1_000).toFixed(1)} s`);
  return [row("longest stall", lengths), ...around, ""];
}

function describeCalls({ account }: Evidence): string[] {
  const { callsAsked, callsCutShort, callsRun, outcomes, problems } = account;
  const isCall = ({ story }: Problem): boolean => story.includes(" call.");
  const of = (what: Problem["what"]): string =>
    figure(problems.filter((problem) => problem.what === what && isCall(problem)).length);
  return [
    row("calls", [figure(callsAsked)]),
    row("  settled", [counted(outcomes)]),
    row("  caller was killed", [figure(callsCutShort)]),
    row("  hung", [of("hung")]),
    row("  wrong answers", [of("wrong")]),
    row("  handlings", [figure(callsRun)]),
    "",
  ];
}

function describeFaults(evidence: Evidence): string[] {
  const { counts, skipped } = evidence;
  const down = brokerDown(evidence).reduce((sum, { from, to }) => sum + to - from, 0);
  return [
    row("faults", [counted(counts)]),
    row("  skipped, another was under way", [figure(skipped)]),
    row("  broker down", [`${(down / 1_000).toFixed(1)} s`]),
  ];
}

function describeMemory({ account, steadyName, publishedUntil }: Evidence): string[] {
  const samples = memoryOf(account, steadyName).filter(({ at }) => at <= publishedUntil);
  const shown = [samples[0], samples[Math.floor(samples.length / 2)], samples.at(-1)];
  return [
    row(
      `memory of ${steadyName}: start, middle, end`,
      shown.map((sample) => megabytes(sample?.bytes)),
    ),
    "",
  ];
}

function memoryOf(
  account: Account,
  name: string,
): readonly { readonly at: number; readonly bytes: number }[] {
  return account.memory.get(`${name}.1`) ?? [];
}

function otherCodes(codes: ReadonlyMap<string, number>): string {
  return counted(new Map([...codes].filter(([code]) => code !== onPurpose)));
}

function counted(counts: ReadonlyMap<string, number>): string {
  const parts = [...counts].sort(([, a], [, b]) => b - a).map(([name, count]) => `${name} ${figure(count)}`);
  return parts.join(", ") || "0";
}

function row(label: string, values: readonly string[]): string {
  return `${label.padEnd(46)}${values.map((value) => value.padStart(10)).join("  ")}`.trimEnd();
}

function figure(count: number): string {
  return count.toLocaleString("en-GB");
}

function percent(part: number, whole: number): string {
  return whole === 0 ? "0 %" : `${((100 * part) / whole).toFixed(2)} %`;
}

function megabytes(bytes: number | undefined): string {
  return bytes === undefined ? "unknown" : `${Math.round(bytes / 1_000_000)} MB`;
}

function clock(ms: number): string {
  const seconds = Math.round(ms / 1_000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}
