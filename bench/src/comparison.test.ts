import { describe, expect, it } from "vitest";
import { type Build, pairResults } from "./comparison.ts";
import type { Result } from "./run.ts";
import type { Figures, Subject } from "./subject.ts";

const subject: Subject = {
  name: "calls-1/confluo",
  title: "calls, 1 in flight",
  quick: true,
  variants: ["old", "new"],
  needs: "calls",
  needsBroker: true,
  columns: [],
  expectSeconds: () => 1,
  measure: async () => ({}),
};

function result(variant: Build, rounds: readonly Figures[], failure?: string): Result {
  return { subject, variant, rounds, failure };
}

function figures(perSecond: number, requesterUs: number, brokerUs?: number): Figures {
  return { perSecond, requesterUs, handlersUs: 50, brokerUs };
}

describe("a comparison", () => {
  it("relates the new build to the old one, pair by pair", () => {
    const [compared] = pairResults([
      result("old", [figures(1_000, 50), figures(500, 100)]),
      result("new", [figures(2_000, 50), figures(1_000, 100)]),
    ]);
    expect(compared).toMatchObject({ name: "calls-1/confluo", title: "calls, 1 in flight", failures: {} });
    expect(compared?.pairs).toHaveLength(2);
    const { old, new: now, ratio } = compared?.figures.perSecond ?? {};
    expect([old, now]).toEqual([750, 1_500]);
    for (const value of Object.values(ratio ?? {})) expect(value).toBeCloseTo(2);
  });

  it("adds up the CPU of all processes, without the broker's where it is not known throughout", () => {
    const known = [figures(1, 50, 100), figures(1, 50, 100)];
    const partly = [figures(1, 50, 100), figures(1, 50)];
    const [all] = pairResults([result("old", known), result("new", known)]);
    expect(all?.figures.cpuUs).toMatchObject({ old: 200, new: 200 });
    expect(all?.figures.brokerUs).toMatchObject({ old: 100, new: 100 });
    const [some] = pairResults([result("old", known), result("new", partly)]);
    expect(some?.figures.cpuUs).toMatchObject({ old: 100, new: 100 });
    expect(some?.figures.brokerUs).toBeUndefined();
  });

  it("has no ratio of a figure that was zero, which a short run may give", () => {
    const [compared] = pairResults([result("old", [figures(1, 50, 0)]), result("new", [figures(1, 50, 1)])]);
    expect(Object.keys(compared?.figures ?? {})).toEqual(["perSecond", "requesterUs", "handlersUs", "cpuUs"]);
  });

  it("counts only pairs of which both were measured, and says why one failed", () => {
    const three = [figures(1, 1), figures(1, 1), figures(1, 1)];
    const [compared] = pairResults([
      result("old", three),
      result("new", [figures(1, 1)], "requester ended with 1."),
    ]);
    expect(compared?.pairs).toHaveLength(1);
    expect(compared?.failures).toEqual({ new: "requester ended with 1." });
    const [nothing] = pairResults([result("new", three)]);
    expect(nothing).toMatchObject({ pairs: [], figures: {} });
  });
});
