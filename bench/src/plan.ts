/** In which order things are measured, and how long that takes. */

import type { Chosen } from "./selection.ts";
import type { Subject } from "./subject.ts";

/** One measurement to be made. */
export interface Step {
  readonly subject: Subject;
  readonly variant: string;
  /** From 0. */
  readonly round: number;
  readonly expectedMs: number;
}

/**
 * Subject by subject. The variants take turns, in the opposite order each round, so that what drifts strikes all alike. What is
 * on demand is measured once.
 */
export function planSteps(
  chosen: readonly Chosen<Subject>[],
  { rounds, seconds }: { readonly rounds: number; readonly seconds: number },
): readonly Step[] {
  return chosen.flatMap(({ subject, variants }) =>
    Array.from({ length: subject.onDemand ? 1 : rounds }, (_, round) => {
      const inOrder = round % 2 === 0 ? variants : variants.toReversed();
      const expectedMs = subject.expectSeconds(seconds) * 1_000;
      return inOrder.map((variant) => ({ subject, variant, round, expectedMs }));
    }).flat(),
  );
}

/**
 * What is left, judged by how long the measurements so far took in comparison with what was expected. The less is done,
 * the less that counts.
 */
export function estimateLeftMs(
  done: { readonly tookMs: number; readonly expectedMs: number },
  leftMs: number,
): number {
  const trust = 10_000;
  return (leftMs * (done.tookMs + trust)) / (done.expectedMs + trust);
}
