/** Keeping the results of a run. */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { chartCases, drawChart, isChartable } from "./chart.ts";
import type { Comparison } from "./comparison.ts";
import type { Machine } from "./machine.ts";
import { formatJson, type Report } from "./report.ts";

const chartFile = join("docs", "benchmark.svg");

/** Writes the results, and the chart if there is all that it shows. @returns what was done, in lines. */
export function saveReport(report: Report, checkout: string): readonly string[] {
  // A run of fleets alone must not replace a full run of the same day.
  const names = report.sections.map(({ name }) => name);
  const isFleets = names.every((name) => name.startsWith("fleet-"));
  const file = write(report, isFleets ? `-${names.join("-")}` : "", checkout);
  if (!isChartable(report))
    return [`Wrote ${file}; ${chartFile} stays as it is: it takes ${chartCases.join(", ")}.`];
  writeFileSync(join(checkout, chartFile), drawChart(report));
  return [`Wrote ${file} and ${chartFile}.`];
}

/** Writes the results. @returns what was done, in lines. */
export function saveComparison(comparison: Comparison, checkout: string): readonly string[] {
  return [`Wrote ${write(comparison, `-compare-${comparison.old.commit.slice(0, 7)}`, checkout)}.`];
}

interface Dated {
  readonly startedAt: string;
  readonly machine: Machine;
}

function write(results: Dated, suffix: string, checkout: string): string {
  const { startedAt, machine } = results;
  const folder = join("bench", "results");
  const file = join(folder, `${startedAt.slice(0, 10)}-${machine.rabbitmq ?? "no-broker"}${suffix}.json`);
  mkdirSync(join(checkout, folder), { recursive: true });
  writeFileSync(join(checkout, file), formatJson(results));
  return file;
}
