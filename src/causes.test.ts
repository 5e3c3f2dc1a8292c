import { describe, expect, it } from "vitest";
import { causesOf, lineOf, stacksOf } from "./causes.ts";

describe("the causes of an error", () => {
  it("are told in order, each once", () => {
    const inner = new Error("inner");
    const outer = new Error("outer", { cause: inner });
    inner.cause = outer;
    expect(lineOf(outer)).toBe("Error: outer; caused by Error: inner");
    expect(causesOf(outer)).toEqual(["caused by Error: inner"]);
    expect(causesOf(new Error("alone"))).toEqual([]);
    expect(lineOf(new Error("outer", { cause: "a text" }))).toBe("Error: outer; caused by Error: a text");
  });

  it("are told up to a dozen, however many there are", () => {
    const many = Array.from({ length: 1_000 }, (_, n) => new Error(`no. ${n}`));
    expect(causesOf(new AggregateError(many))).toHaveLength(11);
    let chain = new Error("0");
    for (let n = 1; n < 1_000; n += 1) chain = new Error(String(n), { cause: chain });
    expect(causesOf(chain)).toHaveLength(11);
  });

  it("have their share of a bounded text", () => {
    const long = (text: string, cause?: unknown): Error => new Error(text.repeat(5_000), { cause });
    const text = stacksOf(long("a", long("b", long("c"))), 600);
    expect(text.length).toBeLessThanOrEqual(600);
    expect(text).toMatch(/^Error: a+…\ncaused by Error: b+…\ncaused by Error: c+…$/);
    const short = new Error("short", { cause: long("b") });
    short.stack = "Error: short";
    expect(stacksOf(short, 600)).toMatch(/^Error: short\ncaused by Error: b{500,}…$/);
  });

  it("do not repeat the frames that all have in common", () => {
    const error = new Error("outer", { cause: new Error("inner") });
    error.stack = "Error: outer\n    at a (f:1:1)\n    at b (f:2:1)\n    at c (f:3:1)";
    (error.cause as Error).stack = "Error: inner\n    at d (f:4:1)\n    at b (f:2:1)\n    at c (f:3:1)";
    expect(stacksOf(error)).toBe(
      `${error.stack}\ncaused by Error: inner\n    at d (f:4:1)\n    … 2 more, as above`,
    );
    (error.cause as Error).stack = "Error: inner";
    expect(stacksOf(error)).toBe(`${error.stack}\ncaused by Error: inner`);
  });

  it("do no harm when they cannot be read", () => {
    const hostile = new Error("no");
    Object.defineProperty(hostile, "cause", {
      get: () => {
        throw new Error("not this way");
      },
    });
    expect(lineOf(hostile)).toBe("Error: no");
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    for (const thrown of [undefined, null, 5, proxy]) expect(typeof lineOf(thrown)).toBe("string");
    expect(stacksOf(undefined)).toBe("");
  });
});
