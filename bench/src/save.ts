/** Keeping the results of a run. */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { chartCases, drawChart, isChartable } from "./chart.ts";
import { formatJson, type Report } from "./report.ts";

const chartFile = join("docs", "benchmark.svg");

/** Writes the results, and the chart if there is all that it shows. @returns what was done, in lines. */
export function saveReport(report: Report, checkout: string): readonly string[] {
  const { startedAt, machine } = report;
  const folder = join("bench", "results");
  const file = join(folder, `${startedAt.slice(0, 10)}-${machine.rabbitmq ?? "no-broker"}.json`);
  mkdirSync(join(checkout, folder), { recursive: true });
  writeFileSync(join(checkout, file), formatJson(report));
  if (!isChartable(report))
    return [`Wrote ${file}; ${chartFile} stays as it is: it takes ${chartCases.join(", ")}.`];
  writeFileSync(join(checkout, chartFile), drawChart(report));
  return [`Wrote ${file} and ${chartFile}.`];
}
