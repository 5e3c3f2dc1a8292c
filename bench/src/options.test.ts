import { describe, expect, it } from "vitest";
import { type Options, parseOptions } from "./options.ts";

function parse(...args: readonly string[]): Options {
  const options = parseOptions(args, "/somewhere");
  if (typeof options === "string") throw new Error(`not options: ${options}`);
  return options;
}

describe("the command line", () => {
  it("saves a full run, and a part only if told to", () => {
    expect(parse()).toMatchObject({ rounds: 3, seconds: 2, save: true });
    expect(parse("--no-save").save).toBe(false);
    expect(parse("--only", "calls-1").save).toBe(false);
    expect(parse("--only", "calls-1", "--save").save).toBe(true);
    expect(parse("--quick").save).toBe(false);
  });

  it("lets rounds and seconds be given for a quick run too", () => {
    expect(parse("--quick")).toMatchObject({ rounds: 1, seconds: 0.8 });
    expect(parse("--quick", "--rounds=5", "--seconds=1.5")).toMatchObject({ rounds: 5, seconds: 1.5 });
  });

  it("compares ten pairs, or fewer in a quick run, and saves nothing unless told to", () => {
    expect(parse().compare).toBeUndefined();
    expect(parse("--compare", "main")).toMatchObject({ compare: "main", pairs: 10, seconds: 2, save: false });
    expect(parse("--compare", "main", "--quick")).toMatchObject({ pairs: 4, seconds: 0.8 });
    expect(parse("--compare=HEAD~1", "--pairs=25", "--save")).toMatchObject({ pairs: 25, save: true });
  });

  it("takes a folder relative to where it was started", () => {
    expect(parse("--cpu-prof", "profiles").profileFolder).toBe("/somewhere/profiles");
  });

  it("takes Nodes by their paths, or by a name in PATH", () => {
    expect(parse("--node", "node,./a/node", "--node=/b/node").nodes).toEqual([
      "node",
      "/somewhere/a/node",
      "/b/node",
    ]);
  });

  it("knows when it is asked for help", () => {
    expect(parseOptions(["--help"], "/")).toBe("help");
    expect(parseOptions(["--list"], "/")).toBe("list");
  });

  it.each([
    [["--fast"], "Unknown option '--fast'."],
    [["quick"], "Unexpected argument 'quick'."],
    [["--rounds", "0"], '--rounds takes a whole number from 1 to 100; "0" was given.'],
    [["--rounds", "1.5"], "--rounds takes a whole number"],
    [["--rounds", ""], "--rounds takes a whole number"],
    [["--rounds"], "'--rounds <value>' argument missing."],
    [["--compare", ""], "--compare takes a commit, a tag or a branch"],
    [["--compare"], "'--compare <value>' argument missing."],
    [["--compare", "main", "--pairs", "1"], '--pairs takes a whole number from 2 to 100; "1" was given.'],
    [["--compare", "main", "--pairs", "2.5"], "--pairs takes a whole number"],
    [["--pairs", "4"], "--pairs is of a comparison: give --compare, too, or --rounds instead."],
    [["--compare", "main", "--rounds", "4"], "--rounds is not of a comparison: give --pairs instead."],
    [["--node", "/a,,/b"], "--node takes paths of Nodes"],
    [["--node", "/a", "--compare", "main"], "--compare measures both builds on the Node that runs it"],
    [["--seconds", "soon"], '--seconds takes more than 0 and at most 600; "soon" was given.'],
    [["--seconds=-1"], "--seconds takes more than 0"],
    [["--broker", "localhost"], "--broker takes an amqp:// or amqps:// URL"],
    [["--broker", "amqp://localhost", "--rabbitmq4"], "give one of the two"],
    [["--save", "--no-save"], "give one of the two"],
    [["--only", " "], "--only takes the name of a case or a variant"],
    [["--cpu-prof", ""], "--cpu-prof takes a folder"],
  ])("refuses %j and says why", (args, reason) => {
    expect(() => parse(...args)).toThrow(reason);
    expect(() => parse(...args)).toThrow("--help lists the options");
  });
});
