/** Making the measurements of a plan. */

import { join } from "node:path";
import { describeFailure } from "./failure.ts";
import type { MeasureOptions } from "./measure.ts";
import { estimateLeftMs, type Step } from "./plan.ts";
import type { Figures } from "./subject.ts";

/** What came of one variant in one subject. */
export interface Result {
  readonly subject: Step["subject"];
  readonly variant: string;
  /** By round. */
  readonly rounds: readonly Figures[];
  /** Why it failed, if it did. Then it was not tried again. */
  readonly failure: string | undefined;
}

/** Told what is going on. */
export interface Listener {
  begin(step: Step, state: { readonly done: number; readonly total: number; readonly leftMs: number }): void;
  fail(step: Step, reason: string): void;
}

export interface RunOptions extends MeasureOptions {
  readonly listener: Listener;
  /** Called between two subjects. */
  readonly tidy: () => Promise<void>;
}

/** Ends early, with what there is, when the signal is aborted. A variant that fails does not end it. */
export async function run(steps: readonly Step[], options: RunOptions): Promise<readonly Result[]> {
  const { listener, signal, profileFolder, tidy } = options;
  const results = new Map<string, { rounds: Figures[]; failure: string | undefined; first: Step }>();
  const done = { tookMs: 0, expectedMs: 0 };
  for (const [index, step] of steps.entries()) {
    if (signal.aborted) break;
    const { subject, variant, expectedMs } = step;
    const key = `${subject.name}/${variant}`;
    const result = results.get(key) ?? { rounds: [], failure: undefined, first: step };
    results.set(key, result);
    const left = steps.slice(index).filter((later) => !hasFailed(results, later));
    if (result.failure === undefined) {
      const leftMs = estimateLeftMs(
        done,
        left.reduce((sum, later) => sum + later.expectedMs, 0),
      );
      listener.begin(step, { done: index, total: steps.length, leftMs });
      const began = performance.now();
      try {
        const folder = profileFolder === undefined ? undefined : join(profileFolder, variant);
        result.rounds.push(await subject.measure(variant, { ...options, profileFolder: folder }));
        done.tookMs += performance.now() - began;
        done.expectedMs += expectedMs;
      } catch (error) {
        if (signal.aborted) break;
        result.failure = describeFailure(error);
        listener.fail(step, result.failure);
      }
    }
    if (subject.needsBroker && steps[index + 1]?.subject !== subject) await tidy();
  }
  return [...results.values()]
    .filter(({ rounds, failure }) => rounds.length > 0 || failure !== undefined)
    .map(({ rounds, failure, first }) => ({
      subject: first.subject,
      variant: first.variant,
      rounds,
      failure,
    }));
}

function hasFailed(results: ReadonlyMap<string, { failure: string | undefined }>, step: Step): boolean {
  return results.get(`${step.subject.name}/${step.variant}`)?.failure !== undefined;
}
