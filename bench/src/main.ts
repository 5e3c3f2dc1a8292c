/** `npm run bench`. */

import { setMaxListeners } from "node:events";
import { join } from "node:path";
import { bench } from "./bench.ts";
import { cases } from "./case.ts";
import { subjectOf } from "./case-subject.ts";
import { chooseCompared, compare } from "./compare.ts";
import type { Comparison } from "./comparison.ts";
import { formatComparison } from "./comparison-table.ts";
import { type Options, parseOptions, usage } from "./options.ts";
import { probes } from "./probes/index.ts";
import { Progress } from "./progress.ts";
import { formatJson, type Report } from "./report.ts";
import { saveComparison, saveReport } from "./save.ts";
import { select, withVariants } from "./selection.ts";
import type { Subject } from "./subject.ts";
import { formatReport } from "./table.ts";
import { quickVariants } from "./variants/index.ts";

const checkout = join(import.meta.dirname, "..", "..");
const caseSubjects = cases.map(subjectOf);
const subjects: readonly Subject[] = [...caseSubjects, ...probes];
const INTERRUPTED = 130;

process.exitCode = await main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  return 1;
});

async function main(): Promise<number> {
  // npm runs this in the checkout, wherever it was started.
  const options = parseOptions(process.argv.slice(2), process.env.INIT_CWD ?? process.cwd());
  if (options === "help") return print(usage);
  if (options === "list") return print(subjects.map(formatSubject).join("\n"));
  const surroundings = {
    options,
    progress: new Progress(process.stderr, process.env),
    signal: abortOnSignals(),
    checkout,
  };
  if (options.compare !== undefined) {
    const comparison = await compare(
      chooseCompared(caseSubjects, options.only),
      options.compare,
      surroundings,
    );
    return show(comparison, formatComparison(comparison), saveComparison, options);
  }
  const isShort = options.quick && options.only.length === 0;
  const among = isShort ? withVariants(subjects, quickVariants) : subjects;
  const report = await bench(select(among, options.only, options.quick), surroundings);
  return show(report, formatReport(report), saveReport, options);
}

function show<R extends Report | Comparison>(
  report: R,
  text: string,
  save: (report: R, checkout: string) => readonly string[],
  { json, save: shallSave }: Options,
): number {
  print(json ? formatJson(report).trimEnd() : text);
  if (shallSave) {
    const lines = report.interrupted
      ? ["Nothing was saved: the run was ended early."]
      : save(report, checkout);
    for (const line of lines) console.error(line);
  }
  // That a variant fails, or that a build is slower, is a result.
  return report.interrupted ? INTERRUPTED : 0;
}

function abortOnSignals(): AbortSignal {
  const ended = new AbortController();
  setMaxListeners(0, ended.signal); // one for each program that runs
  let endedAt = Number.NaN;
  const end = (): void => {
    // Ctrl-C in a terminal comes twice: from the terminal, and handed on by the script.
    if (performance.now() - endedAt > 1_000) process.exit(INTERRUPTED);
    if (ended.signal.aborted) return;
    endedAt = performance.now();
    console.error("\nEnding early; once more ends without the results.");
    ended.abort();
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, end);
  return ended.signal;
}

function formatSubject({ name, title, variants }: Subject): string {
  return `${name.padEnd(20)} ${title}: ${variants.join(", ")}`;
}

function print(text: string): number {
  console.log(text);
  return 0;
}
