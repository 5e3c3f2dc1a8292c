/** The matrix as a table for people. */

import type { Cell, Outcome } from "./experiment.ts";
import type { Fault } from "./stage.ts";

export interface NotRun {
  readonly fault: Fault;
  readonly reason: string;
}

const titles = [
  "fault",
  "at",
  "verb",
  "the caller saw",
  "longest wait",
  "lost",
  "twice",
  "works again after",
];

export function formatTable(outcomes: readonly Outcome[], notRun: readonly NotRun[]): string {
  const rows = outcomes.flatMap((outcome) => outcome.cells.map((cell, i) => rowOf(outcome, cell, i === 0)));
  const widths = titles.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const lines = [titles, widths.map((width) => "-".repeat(width)), ...rows].map((row) =>
    row
      .map((text, i) => text.padEnd(widths[i] ?? 0))
      .join("  ")
      .trimEnd(),
  );
  return [...lines, ...notRun.map(({ fault, reason }) => `not run: ${fault.name}: ${reason}`)].join("\n");
}

function rowOf({ fault, recoveredMs }: Outcome, cell: Cell, isFirst: boolean): readonly string[] {
  const seen = [...cell.seen].sort(([a], [b]) => Number(b === "done") - Number(a === "done"));
  return [
    fault.name,
    fault.side,
    cell.verb,
    seen.map(([code, count]) => `${count} ${code}`).join(", "),
    `${(cell.longestWaitMs / 1_000).toFixed(2)} s`,
    String(cell.lost),
    String(cell.twice),
    isFirst ? `${(recoveredMs / 1_000).toFixed(2)} s` : "",
  ];
}
