/** What a run has shown, as figures for the tests and as a table for people. */

import type { Account, Problem, ServiceTotals } from "./account.ts";
import type { FaultKind } from "./faults.ts";
import { findLongestStall, type Stretch } from "./stalls.ts";
import { onPurpose, type ServiceName, serviceNames } from "./traffic.ts";

export interface Evidence {
  readonly account: Account;
  /** What the tool itself saw go wrong: processes that ended by themselves or did not end. */
  readonly troubles: readonly string[];
  readonly happened: readonly { readonly at: number; readonly text: string }[];
  readonly counts: ReadonlyMap<FaultKind, number>;
  readonly skipped: number;
  readonly brokerDown: readonly Stretch[];
  readonly delayed: boolean;
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
  readonly handled: number;
  readonly text: string;
}

export function makeReport(evidence: Evidence): Report {
  const { account, troubles } = evidence;
  const totals = serviceNames.map((name) => account.total(name, evidence.delayed));
  const sum = (field: (of: ServiceTotals) => number): number =>
    totals.reduce((all, of) => all + field(of), 0);
  const problems = [...account.problems, ...totals.flatMap((of) => of.problems)];
  const count = (what: Problem["what"]): number => problems.filter((one) => one.what === what).length;
  const lost = sum(({ lost }) => lost);
  const hung = count("hung") + count("left") + troubles.length;
  const wrong = count("wrong") + account.strangeLetters;
  const lines = [
    ...describeRun(evidence),
    ...describeServices(totals),
    ...describeStalls(evidence),
    ...describeCalls(evidence),
    ...describeFaults(evidence),
    ...describeMemory(evidence),
    ...problems.slice(0, 20).map(({ what, story }) => `${what}: ${story}`),
    ...troubles.map((trouble) => `trouble: ${trouble}`),
    `${lost} lost, ${hung} hung, ${wrong} wrong.`,
  ];
  return { lost, hung, wrong, handled: sum(({ handled }) => handled), text: lines.join("\n") };
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
    each("dead letters of other codes", (of) => otherCodes(of.codes)),
  ];
}

function describeStalls({ account, brokerDown, publishedUntil, happened }: Evidence): string[] {
  const stalls = serviceNames.map((name: ServiceName) => {
    // While it drains, only what is left can be handled.
    const work = account.workload(name);
    const progress = work.progress.filter((at) => at < publishedUntil);
    return findLongestStall({ work: work.work, progress, brokerDown, end: publishedUntil });
  });
  const around = stalls.flatMap((stall, index) => {
    if (stall === undefined) return [];
    const before = happened.filter(({ at }) => at > stall.from - 2_000 && at < stall.to);
    const faults = before.map(({ at, text }) => `${(at / 1_000).toFixed(1)} ${text}`).join("; ");
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

function describeFaults({ counts, skipped, brokerDown }: Evidence): string[] {
  const down = brokerDown.reduce((sum, { from, to }) => sum + to - from, 0);
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
