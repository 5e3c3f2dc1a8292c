/** One run that compares two builds of confluo: that of a revision and that of the working tree. */

import { cpSync, existsSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { buildRevision } from "../../scripts/revision.mjs";
import { type BenchOptions, measureOnBroker } from "./bench.ts";
import { type Build, type Comparison, pairResults } from "./comparison.ts";
import { describeMachine } from "./machine.ts";
import { type Chosen, select, withVariants } from "./selection.ts";
import type { Subject } from "./subject.ts";
import { confluoVariants } from "./variants/index.ts";

const builds: readonly Build[] = ["old", "new"];

/** Chooses the cases of a quick run with confluo as it comes, or what the patterns select of the variants that are confluo. */
export function chooseCompared(
  cases: readonly Subject[],
  patterns: readonly string[],
): readonly Chosen<Subject>[] {
  const variants = patterns.length === 0 ? confluoVariants.slice(0, 1) : confluoVariants;
  return select(withVariants(cases, variants), patterns, true);
}

/** @param chosen Cases, with variants that are confluo. */
export async function compare(
  chosen: readonly Chosen<Subject>[],
  revision: string,
  bench: BenchOptions,
): Promise<Comparison> {
  const { options, progress, signal, checkout } = bench;
  const { pairs, seconds } = options;
  const startedAt = new Date().toISOString();
  const log = (line: string): void => progress.say(line);
  const old = await buildRevision(revision, { log });
  try {
    log(`Built ${revision}, which is ${old.commit.slice(0, 7)}, to be compared with the working tree.`);
    const oldPrograms = placePrograms(checkout, old.folder);
    const compared = chosen.flatMap((one) => compareBuilds(one, oldPrograms));
    const { results, rabbitmq } = await measureOnBroker(compared, pairs, bench);
    return {
      startedAt,
      interrupted: signal.aborted,
      machine: describeMachine(rabbitmq, checkout),
      settings: { pairs, seconds },
      old: { revision, commit: old.commit },
      cases: pairResults(results),
    };
  } finally {
    await old.remove();
  }
}

/** Copies the benchmark's programs into the folder of another build: what they import as confluo is then that one. */
function placePrograms(checkout: string, folder: string): URL {
  const target = join(folder, "bench", "dist");
  cpSync(join(checkout, "bench", "dist"), target, { recursive: true });
  const packages = join(checkout, "bench", "node_modules");
  if (existsSync(packages)) symlinkSync(packages, join(folder, "bench", "node_modules"), "junction");
  return pathToFileURL(join(target, "/"));
}

/** The builds are then the variants, so the plan lets them take turns. */
function compareBuilds({ subject, variants }: Chosen<Subject>, oldPrograms: URL): readonly Chosen<Subject>[] {
  return variants.map((variant) => ({
    subject: {
      ...subject,
      name: `${subject.name}/${variant}`,
      variants: builds,
      measure: (build, options) =>
        subject.measure(variant, build === "old" ? { ...options, programs: oldPrograms } : options),
    },
    variants: builds,
  }));
}
