import { describe, expect, it } from "vitest";
import { cases } from "./case.ts";
import { subjectOf } from "./case-subject.ts";
import { chooseCompared } from "./compare.ts";

function chosen(...patterns: readonly string[]): Record<string, readonly string[]> {
  const selected = chooseCompared(cases.map(subjectOf), patterns);
  return Object.fromEntries(selected.map(({ subject, variants }) => [subject.name, variants]));
}

describe("what is compared", () => {
  it("is calls, few and many in flight, and events, with confluo as it comes", () => {
    expect(chosen()).toEqual({
      "calls-1": ["confluo"],
      "calls-64": ["confluo"],
      "calls-512": ["confluo"],
      "events-1": ["confluo"],
    });
  });

  it("is any other case by name, also without gathering", () => {
    expect(chosen("sends/confluo", "body-10k")).toEqual({
      sends: ["confluo"],
      "body-10k": ["confluo", "confluo-single"],
    });
  });

  it("is nothing that is not confluo under a load", () => {
    expect(() => chosen("calls-64/raw")).toThrow(
      'there is no variant "raw". There are: confluo, confluo-single.',
    );
    expect(() => chosen("start-up")).toThrow('there is no case or variant "start-up"');
  });
});
