import { describe, expect, it } from "vitest";
import { checkOptions, type OptionNames } from "./checks.ts";

interface Options {
  readonly a?: number | undefined;
  readonly b?: string | undefined;
}
const known: OptionNames<Options> = { a: true, b: true };

describe("an option that is undefined", () => {
  it("counts as left out", () => {
    expect(Object.keys(checkOptions("x", { a: undefined, b: "1" }, known))).toEqual(["b"]);
    expect(checkOptions("x", undefined, known)).toEqual({});
  });

  it("is refused by a name that is none, all the same", () => {
    expect(() => checkOptions("x", { c: undefined } as Options, known)).toThrow("x has no option");
  });
});
