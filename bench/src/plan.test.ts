import { describe, expect, it } from "vitest";
import { estimateLeftMs, planSteps } from "./plan.ts";
import type { Subject } from "./subject.ts";

function subject(name: string): Subject {
  return {
    name,
    title: name,
    quick: true,
    variants: ["a", "b", "c"],
    needs: "calls",
    needsBroker: true,
    columns: [],
    expectSeconds: (seconds) => 2 * seconds,
    measure: async () => ({}),
  };
}

describe("the plan", () => {
  it("lets the variants take turns, in the opposite order each round", () => {
    const chosen = [
      { subject: subject("one"), variants: ["a", "b", "c"] },
      { subject: subject("two"), variants: ["b"] },
    ];
    const steps = planSteps(chosen, { rounds: 3, seconds: 1 });
    expect(steps.map(({ subject, variant, round }) => `${subject.name} ${variant} ${round}`)).toEqual([
      ...["one a 0", "one b 0", "one c 0"],
      ...["one c 1", "one b 1", "one a 1"],
      ...["one a 2", "one b 2", "one c 2"],
      ...["two b 0", "two b 1", "two b 2"],
    ]);
    expect(steps[0]?.expectedMs).toBe(2_000);
  });

  it("measures once what is on demand", () => {
    const chosen = [{ subject: { ...subject("one"), onDemand: true as const }, variants: ["a", "b"] }];
    const steps = planSteps(chosen, { rounds: 3, seconds: 1 });
    expect(steps.map(({ variant, round }) => `${variant} ${round}`)).toEqual(["a 0", "b 0"]);
  });
});

describe("the time left", () => {
  it("is what is expected as long as nothing is known", () => {
    expect(estimateLeftMs({ tookMs: 0, expectedMs: 0 }, 60_000)).toBe(60_000);
  });

  it("grows if things take longer than expected, the more the longer that has been so", () => {
    const early = estimateLeftMs({ tookMs: 2_000, expectedMs: 1_000 }, 60_000);
    const later = estimateLeftMs({ tookMs: 200_000, expectedMs: 100_000 }, 60_000);
    expect(early).toBeGreaterThan(60_000);
    expect(early).toBeLessThan(70_000);
    expect(later).toBeGreaterThan(110_000);
    expect(later).toBeLessThan(120_000);
  });
});
