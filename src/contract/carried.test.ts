import { type } from "arktype";
import * as v from "valibot";
import { describe, expect, it } from "vitest";
import * as z from "zod";
import { checkCarried } from "./carried.ts";
import { command } from "./command.ts";
import { event } from "./event.ts";
import type { AnySchema } from "./schema.ts";

const texts = z.array(z.string());
const later = (): AnySchema =>
  z.object({
    get b() {
      return notYet;
    },
  });
const early = later();
const beforeItIsThere = (): void => checkCarried("it", early);
beforeItIsThere();
const notYet = z.string();

describe("a contract", () => {
  it.each<[string, AnySchema, RegExp]>([
    ["a bigint", z.bigint(), /but it takes a bigint: take text/],
    [
      "a Map",
      z.object({ items: z.array(z.object({ of: z.map(z.string(), z.string()) })) }),
      /items\[\]\.of takes a Map/,
    ],
    ["a Set", z.tuple([z.string(), z.set(z.string()).optional()]), /\[1\] takes a Set/],
    ["a symbol", z.object({ s: z.symbol().nullable() }), /s takes a symbol/],
    ["one before a transform", z.record(z.string(), z.bigint().transform(String)), /\* takes a bigint/],
    ["one of two that are both meant", z.object({ a: z.bigint() }).and(z.object({})), /a takes a bigint/],
  ])("is not made of %s", (_what, schema, message) => {
    expect(() => command("s", "/p", { input: schema })).toThrow(
      /^the input of \/p must accept values that JSON can carry/,
    );
    expect(() => command("s", "/p", { output: schema })).toThrow(/^the output of \/p must/);
    expect(() => command("s", "/p", { errors: { GONE: schema } })).toThrow(
      /^the data of the declared error GONE/,
    );
    expect(() => command("s", "/p", { errors: { GONE: { data: schema } } })).toThrow(message);
    expect(() => event("/p", { body: schema })).toThrow(/^the body of \/p must/);
    expect(() => event("/p", { body: schema })).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT" }),
    );
  });

  it.each<[string, AnySchema]>([
    ["what is coerced", z.object({ n: z.coerce.bigint(), at: z.coerce.date() })],
    ["what is made of something else", texts.transform((list) => new Set(list)).pipe(z.set(z.string()))],
    [
      "a codec",
      z.codec(texts, z.set(z.string()), { decode: (list) => new Set(list), encode: (set) => [...set] }),
    ],
    ["what is made before", z.preprocess((list) => new Set(list as string[]), z.set(z.string()))],
    ["what may be something else", z.union([z.bigint(), z.string()])],
    ["what has a default", z.object({ s: z.set(z.string()).default(new Set()), n: z.bigint().catch(0n) })],
    ["nothing", z.object({ u: z.undefined(), v: z.void().optional() })],
    ["what zod does not know", z.custom()],
    ["a date, which the check of what is sent is for", z.date()],
    ["bigints of libraries that do not show them", v.bigint()],
    ["those of arktype", type("bigint")],
  ])("is made of %s", (_what, schema) => {
    expect(() =>
      command("s", "/p", { input: schema, output: schema, errors: { GONE: schema } }),
    ).not.toThrow();
    expect(() => event("/p", { body: schema })).not.toThrow();
  });

  it("is made of a schema that goes round", () => {
    const node = z.object({
      value: z.number(),
      get next() {
        return node.optional();
      },
    });
    expect(() => event("/p", { body: node })).not.toThrow();
    expect(notYet).toBeDefined();
  });
});
