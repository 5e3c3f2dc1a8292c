import { describe, expect, it } from "vitest";
import { z } from "zod";
import { MisplacedOptions } from "./prepare-message.ts";

function looking() {
  const lines: string[] = [];
  return { lines, misplaced: new MisplacedOptions({ warn: (_details, message) => lines.push(message) }) };
}

describe("a body without options after it", () => {
  it.each([
    [{ timeoutMs: 5 }],
    [{ signal: new AbortController().signal, timeoutMs: 5 }],
    [{ messageId: "1" }],
    [{ query: { page: 2 }, headers: {} }],
  ])("is told of if it looks like options: %j", (body) => {
    const { lines, misplaced } = looking();
    misplaced.look("call", "/ping", body, undefined);
    expect(lines).toEqual([
      expect.stringContaining(`only names of options (${Object.keys(body).join(", ")})`),
    ]);
  });

  it.each([
    [{}],
    [[]],
    [null],
    ["timeoutMs"],
    [{ timeoutMs: 5, amount: 1 }],
    [{ timeoutMs: "5" }],
    [{ query: "shoes" }],
    [{ constructor: 1 }],
  ])("is not told of if it is something else: %j", (body) => {
    const { lines, misplaced } = looking();
    misplaced.look("call", "/ping", body, undefined);
    expect(lines).toEqual([]);
  });

  it("is not told of if a schema checks it", () => {
    const { lines, misplaced } = looking();
    misplaced.look("call", "/wait", { timeoutMs: 5 }, z.object({ timeoutMs: z.number() }));
    expect(lines).toEqual([]);
  });

  it("is told of once for each verb and path, for 100 of them", () => {
    const { lines, misplaced } = looking();
    for (const verb of ["send", "publish", "send"] as const)
      misplaced.look(verb, "/a", { timeoutMs: 5 }, undefined);
    expect(lines).toHaveLength(2);
    for (let id = 0; id < 200; id += 1) misplaced.look("send", `/a/${id}`, { timeoutMs: 5 }, undefined);
    expect(lines).toHaveLength(100);
  });
});
