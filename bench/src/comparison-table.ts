/** A comparison as Markdown. */

import type { ComparedCase, Comparison } from "./comparison.ts";
import { formatMachine } from "./machine.ts";
import { DASH, formatNumber, formatTable } from "./table.ts";
import { describeInterval, type Kind } from "./verdict.ts";

interface Figure {
  readonly key: string;
  readonly title: string;
  readonly digits: number;
  readonly kind: Kind;
  /** Its parts, of which only the ratio is shown. */
  readonly parts: readonly { readonly key: string; readonly title: string }[];
}

const rate: Figure = { key: "perSecond", title: "msg/s", digits: 0, kind: "rate", parts: [] };

const cpu: Figure = {
  key: "cpuUs",
  title: "CPU µs/msg",
  digits: 1,
  kind: "cost",
  parts: [
    { key: "requesterUs", title: "requester" },
    { key: "handlersUs", title: "handlers" },
    { key: "brokerUs", title: "broker" },
  ],
};

export function formatComparison(comparison: Comparison): string {
  const { startedAt, machine, old, settings, interrupted, cases } = comparison;
  const { commit, ...others } = machine;
  const failures = cases.flatMap(({ name, failures }) =>
    Object.entries(failures).map(([build, reason]) => `${name}: ${build} failed: ${reason}`),
  );
  return [
    `${startedAt.slice(0, 10)} · ${formatMachine({ ...others, commit: undefined })}`,
    [
      `- old: ${old.commit.slice(0, 7)} (${old.revision})`,
      `- new: the working tree${commit === undefined ? "" : `, at ${describeCommit(commit)}`}`,
    ].join("\n"),
    `${settings.pairs} pairs, ${settings.seconds} s each${interrupted ? "; ended early, so some are missing" : ""}`,
    formatFigure(rate, cases),
    `${formatFigure(cpu, cases)}\n\n${describeBroker(cases)}`,
    ...(failures.length === 0 ? [] : [failures.join("\n")]),
    cases.flatMap(formatVerdicts).join("\n"),
  ].join("\n\n");
}

/** @param commit With a plus if there were changes. */
function describeCommit(commit: string): string {
  return commit.endsWith("+") ? `${commit.slice(0, -1)} with uncommitted changes` : `${commit}, unchanged`;
}

function formatFigure({ key, title, digits, parts }: Figure, cases: readonly ComparedCase[]): string {
  const titles = ["old", "new", "new/old", "95 % interval", "median", "least", "greatest", "pairs"];
  const rows = cases.map(({ name, figures, pairs }) => {
    const figure = figures[key];
    const count = String(pairs.length);
    if (figure === undefined)
      return [name, ...titles.slice(1).map(() => DASH), count, ...parts.map(() => DASH)];
    const { mean, low, high, median, least, greatest } = figure.ratio;
    return [
      name,
      ...[figure.old, figure.new].map((value) => formatNumber(value, digits)),
      formatRatio(mean),
      Number.isNaN(low) ? DASH : `${formatRatio(low)} to ${formatRatio(high)}`,
      ...[median, least, greatest].map(formatRatio),
      count,
      ...parts.map((part) => formatPart(figures[part.key]?.ratio.mean)),
    ];
  });
  return `**${title}**\n\n${formatTable([["case", ...titles, ...parts.map((part) => part.title)], ...rows])}`;
}

function formatPart(ratio: number | undefined): string {
  return ratio === undefined ? DASH : formatRatio(ratio);
}

function formatRatio(value: number): string {
  return formatNumber(value, 3);
}

function describeBroker(cases: readonly ComparedCase[]): string {
  // It may be known and have no ratio: ticks are too coarse for a short run of few messages.
  return cases.some(({ pairs }) => pairs.some(({ old }) => old.brokerUs !== undefined))
    ? "Of requester, handlers and broker together; the last columns are the ratio of each."
    : "Of requester and handlers together: the broker's is unknown.";
}

function formatVerdicts({ name, figures }: ComparedCase): readonly string[] {
  return [rate, cpu].map(({ key, title, kind }) => {
    const figure = figures[key];
    return `- ${name}, ${title}: ${figure === undefined ? "unknown" : describeInterval(figure.ratio, kind)}.`;
  });
}
