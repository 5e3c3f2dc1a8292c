/** The chart of a report: horizontal bars, drawn by hand, on a ground of its own so that it suits light and dark pages. */

import { formatMachine } from "./machine.ts";
import { type Report, type Row, type Section, valuesOf } from "./report.ts";

/** What it shows. */
export const chartCases: readonly string[] = ["calls-1", "calls-64", "calls-512", "events-1"];

const KEY = "perSecond";

const WIDTH = 860;
const MARGIN = 28;
/** Where the bars begin, and how long the longest of a group is. */
const BARS_X = 236;
const BARS_WIDTH = 500;
const TOP = 76;
const ROW = 22;
const BAR = 14;
const HEAD = 26;
const GAP = 16;
const MOST_TITLE = 30;
const MOST_SMALL_PRINT = 125;

const colours = {
  ink: "#1f2328",
  pale: "#59636e",
  line: "#d1d9e0",
  ours: "#0969da",
  raw: "#8c959f",
  other: "#c9a227",
};

/** Whether all that the chart shows was measured. */
export function isChartable({ sections }: Report): boolean {
  return chartCases.every((name) => sections.some((section) => section.name === name));
}

/** An SVG. Each group of bars has a scale of its own, from 0: cases are not compared with each other. */
export function drawChart(report: Report): string {
  const sections = report.sections.filter(({ name }) => chartCases.includes(name));
  const parts: string[] = [];
  let y = TOP;
  for (const section of sections) {
    parts.push(...drawGroup(section, report, y));
    y += HEAD + section.rows.length * ROW + GAP;
  }
  const { rounds, seconds } = report.settings;
  const times =
    rounds === 1
      ? `one round of ${seconds} s`
      : `medians of ${rounds} rounds of ${seconds} s, thin lines from the least to the greatest`;
  const small = [
    `${report.startedAt.slice(0, 10)}: ${times}. All processes share one machine.`,
    formatMachine(report.machine),
  ].flatMap((line) => wrap(line, MOST_SMALL_PRINT));
  for (const line of small) {
    parts.push(text(MARGIN, y + 6, line, `font-size="11" fill="${colours.pale}"`));
    y += 16;
  }
  const height = y + 10;
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="-apple-system, 'Segoe UI', Helvetica, Arial, sans-serif" font-size="13" role="img" aria-label="Messages per second of confluo and others">`,
    `<rect x="0.5" y="0.5" width="${WIDTH - 1}" height="${height - 1}" rx="10" fill="#ffffff" stroke="${colours.line}"/>`,
    text(MARGIN, 36, "Messages per second", `font-size="18" font-weight="600" fill="${colours.ink}"`),
    text(
      MARGIN,
      56,
      "Longer is better. Each group has its own scale, from 0.",
      `font-size="12" fill="${colours.pale}"`,
    ),
    ...parts,
    "</svg>",
  ].join("\n")}\n`;
}

function drawGroup({ title, rows }: Section, { variants }: Report, top: number): readonly string[] {
  const most = Math.max(...rows.flatMap(({ rounds }) => valuesOf(rounds, KEY)), 1);
  const bottom = top + HEAD + rows.length * ROW - (ROW - BAR) / 2;
  return [
    text(MARGIN, top + 14, title, `font-weight="600" fill="${colours.ink}"`),
    `<line x1="${BARS_X}" y1="${top + HEAD - 4}" x2="${BARS_X}" y2="${bottom + 4}" stroke="${colours.line}"/>`,
    ...rows.flatMap((row, i) =>
      drawRow(row, { title: variants[row.variant]?.title ?? row.variant, y: top + HEAD + i * ROW, most }),
    ),
  ];
}

function drawRow(
  { variant, medians, rounds, failure }: Row,
  { title, y, most }: { readonly title: string; readonly y: number; readonly most: number },
): readonly string[] {
  const isOurs = variant.startsWith("confluo");
  const baseline = y + BAR - 2.5;
  const weight = isOurs ? ' font-weight="600"' : "";
  const shown = title.length > MOST_TITLE ? `${title.slice(0, MOST_TITLE - 1)}…` : title;
  const label = text(BARS_X - 10, baseline, shown, `text-anchor="end" fill="${colours.ink}"${weight}`);
  const value = medians[KEY];
  if (failure !== undefined || value === undefined)
    return [label, text(BARS_X + 8, baseline, "failed", `fill="${colours.pale}" font-style="italic"`)];
  const xOf = (rate: number): number => Math.round((BARS_X + (rate / most) * BARS_WIDTH) * 10) / 10;
  const values = valuesOf(rounds, KEY);
  const [least, greatest] = [Math.min(...values), Math.max(...values)];
  const middle = y + BAR / 2;
  const whisker =
    values.length < 2
      ? []
      : [
          `<path d="M${xOf(least)} ${middle}H${xOf(greatest)}M${xOf(least)} ${middle - 3}v6M${xOf(greatest)} ${middle - 3}v6" stroke="${colours.ink}" stroke-opacity="0.55" fill="none"/>`,
        ];
  const number = Math.round(value).toLocaleString("en");
  return [
    label,
    `<rect x="${BARS_X}" y="${y}" width="${Math.max(1, xOf(value) - BARS_X)}" height="${BAR}" rx="2" fill="${colourOf(variant)}"/>`,
    ...whisker,
    text(xOf(greatest) + 8, baseline, number, `fill="${colours.ink}"${weight}`),
  ];
}

function colourOf(variant: string): string {
  if (variant.startsWith("confluo")) return colours.ours;
  return /^(raw|amqplib)/.test(variant) ? colours.raw : colours.other;
}

function text(x: number, y: number, content: string, attributes: string): string {
  const escaped = content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  return `<text x="${x}" y="${y}" ${attributes}>${escaped}</text>`;
}

function wrap(line: string, most: number): readonly string[] {
  const lines: string[] = [];
  for (const part of line.split(" ")) {
    const last = lines.at(-1);
    if (last === undefined || last.length + part.length + 1 > most) lines.push(part);
    else lines[lines.length - 1] = `${last} ${part}`;
  }
  return lines;
}
