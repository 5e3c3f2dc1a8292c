/** A report as Markdown. */

import { formatMachine } from "./machine.ts";
import { type Report, type Row, type Section, valuesOf } from "./report.ts";
import { spread } from "./statistics.ts";
import type { Column } from "./subject.ts";

export const DASH = "–";
/** A table with more columns than that has its variants beside each other and its figures below each other. */
const MOST_COLUMNS = 12;

export function formatReport(report: Report): string {
  const { machine, settings, startedAt, sections, interrupted } = report;
  const { rounds, seconds } = settings;
  const times = rounds === 1 ? "one round" : `medians of ${rounds} rounds`;
  return [
    `${startedAt.slice(0, 10)} · ${formatMachine(machine)}`,
    `${times}, ${seconds} s each${interrupted ? "; ended early, so some are missing" : ""}`,
    ...sections.map(formatSection),
    formatVariants(report),
  ]
    .filter((part) => part !== "")
    .join("\n\n");
}

function formatSection({ name, title, columns, rows }: Section): string {
  const failures = rows.filter(({ failure }) => failure !== undefined);
  const cells = [
    ["variant", ...columns.flatMap(titlesOf)],
    ...rows.map((row) => [row.variant, ...columns.flatMap((column, i) => cellsOf(column, i, row, rows))]),
  ];
  return [
    `**${name}**: ${title}`,
    formatTable(columns.length > MOST_COLUMNS ? transposed(cells) : cells),
    ...failures.map(({ variant, failure }) => `${variant} failed: ${failure}`),
  ].join("\n\n");
}

function transposed(cells: readonly (readonly string[])[]): readonly (readonly string[])[] {
  const [titles = []] = cells;
  return titles.map((_, at) => cells.map((line) => line[at] ?? ""));
}

function titlesOf({ title, spread, yardstick }: Column): readonly string[] {
  return [
    title,
    ...(spread === undefined ? [] : ["spread"]),
    ...(yardstick === undefined ? [] : [`of ${yardstick}`]),
  ];
}

function cellsOf(column: Column, index: number, row: Row, rows: readonly Row[]): readonly string[] {
  const { key, digits, unknown = DASH, yardstick } = column;
  const titles = titlesOf(column);
  if (row.failure !== undefined) return titles.map((_, i) => (index === 0 && i === 0 ? "failed" : DASH));
  const value = row.medians[key];
  const cells = [value === undefined ? unknown : formatNumber(value, digits)];
  if (column.spread !== undefined) {
    const values = valuesOf(row.rounds, key);
    cells.push(values.length < 2 ? DASH : `${formatNumber(spread(values) * 100, 0)} %`);
  }
  if (yardstick !== undefined) {
    const measure = rows.find(({ variant, failure }) => variant === yardstick && failure === undefined);
    const whole = measure?.medians[key];
    cells.push(value === undefined || whole === undefined ? DASH : formatNumber(value / whole, 2));
  }
  return cells;
}

export function formatNumber(value: number, digits: number): string {
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** The first column to the left, the others, which are numbers, to the right. */
export function formatTable([head = [], ...rows]: readonly (readonly string[])[]): string {
  const widths = head.map((title, i) => Math.max(3, title.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (cells: readonly string[]): string => {
    const padded = widths.map((width, i) => (i === 0 ? cells[i]?.padEnd(width) : cells[i]?.padStart(width)));
    return `| ${padded.join(" | ")} |`;
  };
  const rule = widths.map((width, i) => (i === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`));
  return [line(head), line(rule), ...rows.map(line)].join("\n");
}

function formatVariants({ variants }: Report): string {
  return Object.entries(variants)
    .map(([name, { title, settings }]) => `- ${name}: ${title}${settings === "" ? "" : ` (${settings})`}`)
    .join("\n");
}
