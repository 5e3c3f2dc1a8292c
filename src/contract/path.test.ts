import { describe, expect, it } from "vitest";
import { bindPath, boundPath, checkPath } from "./path.ts";

const refused = (code: string) => expect.objectContaining({ code, message: expect.any(String) });
const invalid = refused("INVALID_ARGUMENT");

describe("checkPath", () => {
  it.each(["/orders", "orders", "/", "/orders/:id", ":id", "/a//b", "/:a/:_b/:C9", "/a:b/c", "/orders/"])(
    "accepts %s",
    (path) => expect(() => checkPath(path)).not.toThrow(),
  );

  it.each(["", "/orders?page=2", "/:", "/:1st", "/:order-id", "/:id:", "/:id/lines/:id", undefined, 7])(
    "refuses %s",
    (path) => expect(() => checkPath(path)).toThrow(invalid),
  );

  it("leaves the values of a bound path free", () => {
    expect(() => checkPath("/tags/:-)", "/tags/:tag")).not.toThrow();
  });

  it("checks the pattern of a bound path", () => {
    expect(() => checkPath("/tags/1/1", "/tags/:tag/:tag")).toThrow(invalid);
    expect(() => checkPath("/tags/1", 7)).toThrow(invalid);
  });

  it("says what came and what is expected", () => {
    expect(() => checkPath("/:order-id")).toThrow(/must be `:` and a name of letters, .* got ":order-id"/);
    expect(() => checkPath("/:id/:id")).toThrow(/must be a path with :id only once, got "\/:id\/:id"/);
  });
});

describe("bindPath", () => {
  it("puts the values into the path as they are", () => {
    expect(bindPath("/orders/:id/lines/:line", { id: 7, line: "a b%.*" })).toBe("/orders/7/lines/a b%.*");
    expect(bindPath(":id", { id: "x" })).toBe("x");
    expect(bindPath("/orders", {})).toBe("/orders");
  });

  it("does not take a value for a parameter", () => {
    expect(bindPath("/:a/:b", { a: ":b", b: "2" })).toBe("/:b/2");
  });

  it.each([
    ["empty", ""],
    ["with a slash", "a/b"],
    ["with a question mark", "a?b"],
    ["not finite", Number.NaN],
    ["infinite", Number.POSITIVE_INFINITY],
    ["missing", undefined],
    ["null", null],
    ["an object", { id: 1 }],
    ["a boolean", true],
  ])("refuses a value that is %s", (_what, value) => {
    expect(() => bindPath("/orders/:id", { id: value as string })).toThrow(invalid);
  });

  it("refuses a value that only the prototype has", () => {
    expect(() => bindPath("/orders/:toString", {})).toThrow(invalid);
  });

  it("refuses a name that the path does not have", () => {
    expect(() => bindPath("/orders/:id", { id: 1, line: 2 })).toThrow(
      'The path /orders/:id has no parameter "line".',
    );
  });

  it("refuses values that are no object", () => {
    expect(() => bindPath("/orders/:id", undefined as never)).toThrow(invalid);
  });
});

describe("boundPath", () => {
  it("is the path of a contract without parameters", () => {
    expect(boundPath({ path: "/orders" })).toBe("/orders");
    expect(boundPath({ path: "/a:b" })).toBe("/a:b");
  });

  it("is the concrete path of a contract that came from .at()", () => {
    expect(boundPath({ path: "/orders/:7", pattern: "/orders/:id" })).toBe("/orders/:7");
  });

  it("refuses a path whose parameters have no values, and says what to do", () => {
    expect(() => boundPath({ path: "/orders/:id/lines/:line" })).toThrow(invalid);
    expect(() => boundPath({ path: "/orders/:id/lines/:line" })).toThrow(
      "The path /orders/:id/lines/:line has parameters: address it with .at({ id, line }).",
    );
  });
});
