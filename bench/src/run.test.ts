import { describe, expect, it } from "vitest";
import { planSteps } from "./plan.ts";
import { type Listener, run } from "./run.ts";
import type { Figures, Subject } from "./subject.ts";

function subject(name: string, measure: (variant: string) => Promise<Figures>): Subject {
  return {
    name,
    title: name,
    quick: true,
    variants: ["a", "b"],
    needs: "calls",
    needsBroker: true,
    columns: [],
    expectSeconds: () => 1,
    measure,
  };
}

async function runAll(subjects: readonly Subject[], signal = new AbortController().signal) {
  const told: string[] = [];
  const listener: Listener = {
    begin: ({ subject, variant, round }) => void told.push(`${subject.name} ${variant} ${round}`),
    fail: (_, reason) => void told.push(reason),
  };
  const chosen = subjects.map((subject) => ({ subject, variants: subject.variants }));
  const results = await run(planSteps(chosen, { rounds: 2, seconds: 1 }), {
    broker: "",
    brokerPid: undefined,
    seconds: 1,
    profileFolder: undefined,
    signal,
    listener,
    tidy: async () => void told.push("tidied"),
  });
  return { told, results: results.map(({ variant, rounds, failure }) => [variant, rounds.length, failure]) };
}

describe("a run", () => {
  it("goes on after a failure, without trying the variant again in that case", async () => {
    const fails = subject("one", async (variant) => {
      if (variant === "a") throw new Error("wrong answer");
      return {};
    });
    const { told, results } = await runAll([fails, subject("two", async () => ({}))]);
    expect(results).toEqual([
      ["a", 0, "wrong answer"],
      ["b", 2, undefined],
      ["a", 2, undefined],
      ["b", 2, undefined],
    ]);
    const second = ["two a 0", "two b 0", "two b 1", "two a 1", "tidied"];
    expect(told).toEqual(["one a 0", "wrong answer", "one b 0", "one b 1", "tidied", ...second]);
  });

  it("ends with what there is when it is told to", async () => {
    const ended = new AbortController();
    const one = subject("one", async (variant) => {
      if (variant === "b") ended.abort();
      ended.signal.throwIfAborted();
      return {};
    });
    expect((await runAll([one], ended.signal)).results).toEqual([["a", 1, undefined]]);
  });
});
