/** Each verb against each fault: how it ends for the caller, what is lost, and that all works again by itself. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Outcome, runExperiment } from "./faults/experiment.ts";
import { formatTable, type NotRun } from "./faults/matrix-table.ts";
import { networkFaults } from "./faults/network-faults.ts";
import { type Fault, freshNamespace, type StageOptions } from "./faults/stage.ts";
import { type Verb, verbs } from "./faults/traffic.ts";
import { deleteNamespace, testBrokerUrl } from "./support/rabbitmq.ts";

const outcomes: Outcome[] = [];
const notRun: NotRun[] = [];

afterAll(() => {
  console.log(formatTable(outcomes, notRun));
});

type Result = { readonly outcome: Outcome } | { readonly failure: unknown } | { readonly notRun: string };

/** Cells of some faults; `run` is told how to take down each result. */
function describeFaults(
  title: string,
  faults: readonly Fault[],
  run: (attempt: (fault: Fault, options: StageOptions | string) => Promise<void>) => Promise<void>,
): void {
  const results = new Map<Fault, Result>();
  const attempt = async (fault: Fault, options: StageOptions | string): Promise<void> => {
    if (typeof options === "string") {
      notRun.push({ fault, reason: options });
      results.set(fault, { notRun: options });
      return;
    }
    try {
      const outcome = await runExperiment(fault, options);
      outcomes.push(outcome);
      results.set(fault, { outcome });
    } catch (failure) {
      results.set(fault, { failure });
    }
  };

  describe(title, () => {
    beforeAll(() => run(attempt), 120_000);

    for (const fault of faults) {
      describe(fault.name, () => {
        const cells = verbs.map((verb) => [titleOf(fault, verb), verb] as const);
        it.for(cells)("%s", ([, verb], { skip }) => {
          const result = results.get(fault);
          if (result === undefined) throw new Error("it was not tried");
          if ("notRun" in result) return skip(result.notRun);
          if ("failure" in result) throw result.failure;
          const { cells, wrong } = result.outcome;
          const cell = cells.find((candidate) => candidate.verb === verb);
          const allowed: readonly string[] = ["done", ...fault.codes[verb]];
          const seen = [...(cell?.seen.keys() ?? [])];
          expect(seen.filter((code) => !allowed.includes(code))).toEqual([]);
          expect(cell?.late).toBe(0);
          if (!fault.mayLose.includes(verb)) expect(cell?.lost).toBe(0);
          expect(wrong).toEqual([]);
        });
      });
    }
  });
}

function titleOf({ codes, mayLose }: Fault, verb: Verb): string {
  const rejections = codes[verb].length === 0 ? "" : ` or rejects with ${codes[verb].join(" or ")}`;
  return `${verb}: succeeds${rejections} in time, ${mayLose.includes(verb) ? "" : "is not lost, "}and works again`;
}

for (const side of ["caller", "handler"] as const) {
  const faults = networkFaults(side);
  describeFaults(`between the ${side} and the broker`, faults, async (attempt) => {
    const namespace = freshNamespace();
    const options = { url: testBrokerUrl(), namespace, proxied: true, node: undefined };
    await Promise.all(faults.map((fault) => attempt(fault, options)));
    await deleteNamespace(namespace, []);
  });
}
