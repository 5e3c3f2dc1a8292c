import { Readable, Writable } from "node:stream";
import { describe, expect, it } from "vitest";
import { ConfluoError, ServiceError } from "../index.ts";
import { readBody } from "./body.ts";
import { countOf, delayOf, durationOf, pairOf } from "./broker-flags.ts";
import { describeError, errorAsJson } from "./describe-error.ts";
import { exitCodeOf } from "./exit-codes.ts";
import { cut, fittedTable, tableOf } from "./table.ts";
import { harmless, jsonOf, paintOf, type Terminal } from "./terminal.ts";

function terminal(
  own: { readonly isTTY?: boolean; readonly env?: Terminal["env"]; readonly input?: string } = {},
): Terminal {
  const stream = () =>
    Object.assign(new Writable({ write: (_chunk, _encoding, done) => done() }), {
      isTTY: own.isTTY === true,
    });
  const stdin = Object.assign(Readable.from([own.input ?? ""]), { isTTY: own.isTTY === true });
  return {
    stdin,
    stdout: stream(),
    stderr: stream(),
    env: own.env ?? {},
    signal: new AbortController().signal,
  };
}

describe("options", () => {
  it.each([
    ["500ms", 500],
    ["2s", 2_000],
    ["1.5m", 90_000],
    ["1h", 3_600_000],
  ])("take %s as a duration", (text, ms) => expect(durationOf(text)).toBe(ms));

  it.each(["", "0", "5", "-1s", "1 day", "s", "99999h"])("do not take %s as a duration", (text) =>
    expect(() => durationOf(text)).toThrow("Expected a duration"),
  );

  it("take delays, which may be longer than a duration, or none", () => {
    expect(["0s", "250ms", "2h", "1.5d", "400d"].map(delayOf)).toEqual([
      0, 250, 7_200_000, 129_600_000, 34_560_000_000,
    ]);
    for (const text of ["", "5", "-1s", "2 h", "tomorrow"])
      expect(() => delayOf(text)).toThrow("Expected a delay");
  });

  it("take counts and pairs", () => {
    expect(countOf("12")).toBe(12);
    for (const text of ["0", "-1", "1.5", "x", "1e3"]) expect(() => countOf(text)).toThrow("whole number");
    expect(pairOf("a=b=c", { x: "y" })).toEqual({ x: "y", a: "b=c" });
    expect(() => pairOf("=b")).toThrow("name=value");
  });
});

describe("a body", () => {
  it("comes from an argument, or standard input when that is asked for", async () => {
    const read = (argument: string | undefined, isText = false, input = "") =>
      readBody({ argument, file: undefined, isText }, terminal({ input }));
    expect(await read('{"a":1}')).toEqual({ a: 1 });
    expect(await read(undefined, false, "ignored")).toBeUndefined();
    expect(await read("-", false, "[1]")).toEqual([1]);
    expect(await read("-", false, "\uFEFF[1]\r\n")).toEqual([1]);
    expect(await read("[1]", true)).toBe("[1]");
    expect(await read("")).toBeUndefined();
    await expect(read("{")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("comes from a file, and from nowhere else then", async () => {
    await expect(readBody({ argument: "1", file: "f", isText: false }, terminal())).rejects.toThrow(
      "not both",
    );
    await expect(
      readBody({ argument: undefined, file: "/no/such", isText: false }, terminal()),
    ).rejects.toThrow("cannot be read");
  });
});

describe("what is printed", () => {
  it("has colours on a terminal only, unless told otherwise", () => {
    const isColoured = (own: Parameters<typeof terminal>[0]) => paintOf(terminal(own)).bad("x") !== "x";
    expect(isColoured({})).toBe(false);
    expect(isColoured({ isTTY: true })).toBe(true);
    expect(isColoured({ isTTY: true, env: { NO_COLOR: "1" } })).toBe(false);
    expect(isColoured({ env: { FORCE_COLOR: "1" } })).toBe(true);
    expect(isColoured({ isTTY: true, env: { FORCE_COLOR: "0" } })).toBe(false);
  });

  it("stands in columns, whatever its colour", () => {
    const lines = tableOf(
      [{ title: "NAME" }, { title: "N", align: "right" }],
      [
        ["\u001b[31mlonger name\u001b[0m", "1"],
        ["ü", "1,000"],
      ],
    );
    expect(lines).toEqual([
      "NAME             N",
      "\u001b[31mlonger name\u001b[0m      1",
      "ü            1,000",
    ]);
    expect(cut("a\n  b", 10)).toBe("a b");
    expect(cut("abcdef", 4)).toBe("abc…");
  });

  it("leaves out columns that can be spared, and cuts the last, where there is no room", () => {
    const columns = [
      { title: "NAME" },
      { title: "SECOND", spare: 1 },
      { title: "FIRST", spare: 2 },
      { title: "WHY", paint: (text: string) => `<${text}>` },
    ];
    const rows = [["orders", "1", "2", "a reason that is longer than any terminal is wide, or nearly so"]];
    const shown = (width: number | undefined) => fittedTable(columns, rows, width);
    expect(shown(undefined).leftOut).toEqual([]);
    expect(shown(38)).toMatchObject({ leftOut: ["FIRST"] });
    expect(shown(38).lines[1]).toBe("orders  1       <a reason that is long…>");
    expect(shown(20).leftOut).toEqual(["SECOND", "FIRST"]);
  });

  it("names an error and what kind it is, not where it came from", () => {
    const error = new ConfluoError("TIMEOUT", "Too late.");
    expect(describeError(error, false)).toBe("confluo: Too late. (TIMEOUT)");
    expect(describeError(error, true)).toContain("    at ");
    expect(describeError(new Error("other"), false)).toBe("confluo: other");
    const missing = new ConfluoError("NO_SUCH_ROUTE", "There is no route.");
    expect(describeError(missing, false)).toMatch(
      /^confluo: There is no route\. \(NO_SUCH_ROUTE\)\n.*confluo show/,
    );
    expect(describeError("thrown", false)).toBe("confluo: thrown");
  });

  it("does nothing to the terminal but colour it", () => {
    expect(harmless("\u001b[31mred\u001b[0m\ta\nb")).toBe("\u001b[31mred\u001b[0m\ta\nb");
    expect(harmless("\u001b]0;title\u0007\u001b[2J\u009b2J\r")).toBe(
      "\ufffd]0;title\ufffd\ufffd[2J\ufffd2J\ufffd",
    );
    expect(jsonOf("a\u009b\u001b")).toBe('"a\\u009b\\u001b"');
  });

  it("tells what a service says of its own errors", () => {
    const declined = new ServiceError("declined", { code: "CARD_DECLINED", status: 402, data: { limit: 5 } });
    expect(describeError(declined, false)).toBe('confluo: declined (CARD_DECLINED, status 402)\n{"limit":5}');
    expect(describeError(new ServiceError("no", { status: 404 }), false)).toBe("confluo: no (status 404)");
    expect(JSON.parse(errorAsJson(declined))).toEqual({
      error: { code: "CARD_DECLINED", message: "declined", status: 402, data: { limit: 5 } },
    });
    expect(JSON.parse(errorAsJson(new Error("other")))).toEqual({ error: { message: "other" } });
  });

  it("ends with a code by kind of error", () => {
    const codes = [
      "TIMEOUT",
      "BROKER_UNREACHABLE",
      "INVALID_ARGUMENT",
      "CANCELLED",
      "NO_SUCH_ROUTE",
      "NO_BROKER_ADDRESS",
    ] as const;
    expect(codes.map((code) => exitCodeOf(new ConfluoError(code, "")))).toEqual([4, 3, 2, 130, 1, 3]);
    expect(exitCodeOf(new Error(""))).toBe(1);
  });
});
