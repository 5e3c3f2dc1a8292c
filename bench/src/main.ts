/** `npm run bench`. */

import { setMaxListeners } from "node:events";
import { join } from "node:path";
import { bench } from "./bench.ts";
import { cases } from "./case.ts";
import { subjectOf } from "./case-subject.ts";
import { parseOptions, usage } from "./options.ts";
import { probes } from "./probes/index.ts";
import { Progress } from "./progress.ts";
import { formatJson, type Report } from "./report.ts";
import { saveReport } from "./save.ts";
import { select } from "./selection.ts";
import type { Subject } from "./subject.ts";
import { formatReport } from "./table.ts";
import { quickVariants } from "./variants/index.ts";

const checkout = join(import.meta.dirname, "..", "..");
const subjects: readonly Subject[] = [...cases.map(subjectOf), ...probes];
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
  const isShort = options.quick && options.only.length === 0;
  const chosen = select(isShort ? subjects.map(shortened) : subjects, options.only, options.quick);
  const signal = abortOnSignals();
  const progress = new Progress(process.stderr, process.env);
  const report = await bench(chosen, { options, progress, signal, checkout });
  print(options.json ? formatJson(report).trimEnd() : formatReport(report));
  if (options.save) save(report);
  // That a variant fails is a result.
  return report.interrupted ? INTERRUPTED : 0;
}

function shortened(subject: Subject): Subject {
  return { ...subject, variants: subject.variants.filter((name) => quickVariants.includes(name)) };
}

function save(report: Report): void {
  const say = (line: string): void => console.error(line);
  if (report.interrupted) say("Nothing was saved: the run was ended early.");
  else for (const line of saveReport(report, checkout)) say(line);
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
