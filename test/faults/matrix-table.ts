/** The matrix as a table for people. */

import type { Cell, Outcome } from "./experiment.ts";
import type { Fault } from "./stage.ts";

/** What came of one fault. */
export interface Row {
  readonly fault: Fault;
  readonly result: Outcome | { readonly failure: unknown } | { readonly notRun: string };
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

export function formatTable(rows: readonly Row[]): string {
  const lines = rows.flatMap(linesOf);
  const widths = titles.map((title, i) =>
    Math.max(title.length, ...lines.map((line) => line[i]?.length ?? 0)),
  );
  return [titles, widths.map((width) => "-".repeat(width)), ...lines]
    .map((line) => line.map((text, i) => text.padEnd(widths[i] ?? 0)).join("  "))
    .map((line) => line.trimEnd())
    .join("\n");
}

function linesOf({ fault, result }: Row): readonly (readonly string[])[] {
  if ("notRun" in result) return [[fault.name, fault.side, "", `not run: ${result.notRun}`]];
  if ("failure" in result) return [[fault.name, fault.side, "", `failed: ${result.failure}`]];
  return result.cells.map((cell, i) => lineOf(result, cell, i === 0));
}

function lineOf({ fault, recoveredMs }: Outcome, cell: Cell, isFirst: boolean): readonly string[] {
  const seen = [...cell.seen].sort(([a], [b]) => Number(b === "done") - Number(a === "done"));
  return [
    fault.name,
    fault.side,
    cell.verb,
    seen.map(([code, count]) => `${count} ${code}`).join(", "),
    `${(cell.longestWaitMs / 1_000).toFixed(2)} s`,
    cell.orphaned === 0 ? String(cell.lost) : `${cell.lost}, ${cell.orphaned} orphaned`,
    String(cell.twice),
    isFirst ? `${(recoveredMs / 1_000).toFixed(2)} s` : "",
  ];
}
