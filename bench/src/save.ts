/** Keeping the results of a run. */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { formatJson, type Report } from "./report.ts";

/** @returns what was written, relative to the checkout. */
export function saveReport(report: Report, checkout: string): readonly string[] {
  const { startedAt, machine } = report;
  const folder = join("bench", "results");
  const file = join(folder, `${startedAt.slice(0, 10)}-${machine.rabbitmq ?? "no-broker"}.json`);
  mkdirSync(join(checkout, folder), { recursive: true });
  writeFileSync(join(checkout, file), formatJson(report));
  return [file];
}
