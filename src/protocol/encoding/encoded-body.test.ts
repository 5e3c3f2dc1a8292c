import { Readable } from "node:stream";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { toJson } from "./encoded-body.ts";

class Order {
  readonly id: number = 1;
  readonly note: string | undefined = undefined;
}

class Sealed {
  readonly #id: number = 1;
  id(): number {
    return this.#id;
  }
}

class Money {
  readonly #cents: number = 5;
  toJSON(): string {
    return `${this.#cents} ct`;
  }
}

function refusal(value: unknown): string {
  try {
    toJson(value);
  } catch (error) {
    expect(error).toMatchObject({ code: "INVALID_ARGUMENT" });
    return (error as Error).message;
  }
  return "was not refused";
}

describe("toJson", () => {
  it.each([
    ["null", null],
    ["a text", "a"],
    ["a number", -1.5],
    ["lists and objects", { a: [1, { b: [true, "x", null] }], c: {} }],
    ["an object without a prototype", Object.assign(Object.create(null), { a: 1 })],
    ["an object of another realm", runInNewContext("({ a: [{}], b: {} })")],
  ])("takes %s, which reads back the same", (_what, value) => {
    expect(toJson(value)).toEqual({ json: JSON.stringify(value), isSame: true });
  });

  it.each([
    ["a date", { at: new Date(0) }, '{"at":"1970-01-01T00:00:00.000Z"}'],
    ["a date of another realm", runInNewContext("[new Date(0)]"), '["1970-01-01T00:00:00.000Z"]'],
    ["an address", [new URL("http://a/")], '["http://a/"]'],
    ["what has a toJSON", { price: new Money() }, '{"price":"5 ct"}'],
    ["a toJSON of a literal", { toJSON: () => 1 }, "1"],
    ["an instance with fields", new Order(), '{"id":1}'],
    ["a field that is undefined", { a: 1, b: undefined }, '{"a":1}'],
    ["boxed values", [Object(1), Object("a"), Object(true)], '[1,"a",true]'],
  ])("takes %s, which reads back as something else", (_what, value, json) => {
    expect(toJson(value)).toEqual({ json, isSame: false });
  });

  it.each([
    ["a Map", new Map(), /make an object or an array of it/],
    ["a Set", new Set([1]), /make an object or an array of it/],
    ["a Map of another realm", runInNewContext("new Map()"), /make an object or an array of it/],
    ["a generator", (function* () {})(), /make an object or an array of it/],
    ["an iterator", [1].values(), /make an object or an array of it/],
    ["a query", new URLSearchParams("a=1"), /make an object or an array of it/],
    ["a form", new FormData(), /make an object or an array of it/],
    ["headers", new Headers(), /make an object or an array of it/],
    ["a stream", Readable.from(["a"]), /make an object or an array of it/],
    ["a web stream", new ReadableStream(), /make an object or an array of it/],
    ["a blob", new Blob([]), /no fields that show/],
    ["a response", new Response(), /no fields that show/],
    ["a regular expression", /x/, /no fields that show/],
    ["a weak map", new WeakMap(), /no fields that show/],
    ["an instance without fields", new Sealed(), /no fields that show/],
    ["a boxed symbol", Object(Symbol("x")), /no fields that show/],
    ["a buffer", Buffer.from("x"), /bytes are the whole body.* or text, such as base64/],
    ["a typed array", Uint8Array.of(1), /base64/],
    ["other numbers", new Float64Array(1), /base64/],
    ["a view", new DataView(new ArrayBuffer(1)), /base64/],
    ["an array buffer", new ArrayBuffer(1), /base64/],
    ["a shared buffer", new SharedArrayBuffer(1), /base64/],
    ["a promise", Promise.resolve(1), /await it first/],
    // biome-ignore lint/suspicious/noThenProperty: a query builder has one
    ["what can be awaited", Object.create({ then: () => 1 }), /await it first/],
    ["an error", Object.assign(new Error("x"), { code: "E" }), /its message/],
    ["an error of another realm", runInNewContext("new Error('x')"), /its message/],
    ["a date that is none", new Date(Number.NaN), /the date is not valid/],
    ["no number", Number.NaN, /send null/],
    ["an endless number", Number.NEGATIVE_INFINITY, /send null/],
    ["a bigint", 5n, /send it as text\), got 5n/],
    ["a function", () => 1, /call it, or leave it out/],
    ["a symbol", Symbol("x"), /leave it out/],
  ])("refuses %s and names its place", (_what, value, cure) => {
    expect(refusal(value)).toMatch(/^body must be a JSON value \(/);
    for (const message of [refusal(value), refusal({ items: [1, { when: value }] })]) {
      expect(message).toMatch(cure);
    }
    expect(refusal({ items: [1, { when: value }] })).toMatch(/^body\.items\[1\]\.when must be/);
    expect(refusal([{ "a b": value }])).toMatch(/^body\[0\]\["a b"\] must be/);
  });

  it("refuses what a list lacks, which would become null", () => {
    expect(refusal([1, undefined])).toMatch(/^body\[1\] must be .*send null in its place/);
    // biome-ignore lint/suspicious/noSparseArray: this is what it is about
    expect(refusal({ a: [1, , 3] })).toMatch(/^body\.a\[1\] must be/);
  });

  it("refuses a cycle with the reason, and what is wrong before it with its place", () => {
    const cycle: Record<string, unknown> = { a: [] };
    cycle.self = cycle;
    expect(refusal(cycle)).toMatch(/circular/);
    cycle.big = 1n;
    expect(refusal(cycle)).toMatch(/^body\.big must be/);
  });

  it("refuses what throws when it is looked at", () => {
    const hostile = Object.defineProperty({}, "a", {
      enumerable: true,
      get() {
        throw new Error("hidden");
      },
    });
    expect(refusal(hostile)).toMatch(/cannot be written as JSON: hidden/);
  });

  it("takes a value that stands in several places", () => {
    const shared = { a: 1 };
    expect(toJson([shared, shared]).isSame).toBe(true);
  });
});
