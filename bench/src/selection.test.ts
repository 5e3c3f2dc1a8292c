import { describe, expect, it } from "vitest";
import { select } from "./selection.ts";

const subjects = [
  { name: "calls-1", quick: true, variants: ["raw", "confluo", "other"] },
  { name: "calls-64", quick: false, variants: ["raw", "confluo", "other"] },
  { name: "events-1", quick: true, variants: ["raw", "confluo", "other"] },
  { name: "start-up", quick: false, variants: ["confluo"] },
];

function chosen(...patterns: readonly string[]): Record<string, readonly string[]> {
  const selected = select(subjects, patterns, false);
  return Object.fromEntries(selected.map(({ subject, variants }) => [subject.name, variants]));
}

describe("the selection", () => {
  it("is everything without a pattern, or everything quick", () => {
    expect(Object.keys(chosen())).toEqual(["calls-1", "calls-64", "events-1", "start-up"]);
    expect(select(subjects, [], true).map(({ subject }) => subject.name)).toEqual(["calls-1", "events-1"]);
  });

  it("has what is on demand only if a pattern names it", () => {
    const all = [
      ...subjects,
      { name: "fleet-10", quick: true, onDemand: true as const, variants: ["confluo"] },
    ];
    const names = (patterns: readonly string[], quick: boolean): readonly string[] =>
      select(all, patterns, quick).map(({ subject }) => subject.name);
    expect(names([], false)).not.toContain("fleet-10");
    expect(names([], true)).not.toContain("fleet-10");
    expect(names(["fleet-*"], false)).toEqual(["fleet-10"]);
  });

  it("takes all variants of a case, all cases of a variant, or some of both", () => {
    expect(chosen("calls-64")).toEqual({ "calls-64": ["raw", "confluo", "other"] });
    expect(Object.keys(chosen("*/confluo"))).toHaveLength(4);
    expect(chosen("raw,other")).toEqual(chosen("*/raw,other"));
    expect(chosen("calls-*/confluo,raw")).toEqual({
      "calls-1": ["raw", "confluo"],
      "calls-64": ["raw", "confluo"],
    });
  });

  it("adds up several patterns, in the order of the cases", () => {
    expect(chosen("events-1/other", "calls-1/raw")).toEqual({ "calls-1": ["raw"], "events-1": ["other"] });
  });

  it("chooses what was named also if it is not quick", () => {
    expect(select(subjects, ["calls-64"], true)).toHaveLength(1);
  });

  it("takes a dot for a dot", () => {
    expect(() => chosen("calls.1")).toThrow('there is no case or variant "calls.1"');
  });

  it("refuses an unknown name and lists those that there are", () => {
    expect(() => chosen("calls-2/raw")).toThrow(
      '--only calls-2/raw: there is no case "calls-2". There are: calls-1, calls-64, events-1, start-up.',
    );
    expect(() => chosen("calls-1/rough")).toThrow(
      'there is no variant "rough". There are: raw, confluo, other.',
    );
    expect(() => chosen("calls-1,raw")).toThrow('there is no case "raw"');
    expect(() => chosen("calls-1/raw/1")).toThrow("one slash at most");
  });

  it("refuses a pattern that selects nothing", () => {
    expect(() => chosen("start-up/raw")).toThrow("selects nothing: start-up has confluo.");
  });
});
