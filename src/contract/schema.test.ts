import type { StandardSchemaV1 } from "@standard-schema/spec";
import { type } from "arktype";
import * as v from "valibot";
import { describe, expect, it } from "vitest";
import * as z from "zod";
import { type AnySchema, checkSchema, describeProblems, isSchema, validateWith } from "./schema.ts";

/** A schema that answers what it is told to. */
function schemaOf(validate: (value: unknown) => unknown): AnySchema {
  return { "~standard": { version: 1, vendor: "test", validate: validate as never } };
}

const failing = (path: StandardSchemaV1.Issue["path"]) =>
  schemaOf(() => ({ issues: [path === undefined ? { message: "no" } : { message: "no", path }] }));

const libraries: ReadonlyArray<readonly [string, AnySchema]> = [
  ["zod", z.object({ items: z.array(z.object({ price: z.number() })) })],
  ["valibot", v.object({ items: v.array(v.object({ price: v.number() })) })],
  ["arktype", type({ items: type({ price: "number" }).array() })],
];

describe("validateWith", () => {
  describe.each(libraries)("%s", (_name, schema) => {
    it("gives the value", () => {
      expect(validateWith(schema, { items: [{ price: 1 }] })).toEqual({ value: { items: [{ price: 1 }] } });
    });

    it("names the place of a problem", () => {
      expect(validateWith(schema, { items: [{ price: "1" }] })).toEqual({
        issues: [{ path: "items[0].price", message: expect.stringMatching(/number/) }],
      });
    });

    it("names no place if the whole value is wrong", () => {
      expect(validateWith(schema, 5)).toEqual({ issues: [{ path: "", message: expect.any(String) }] });
    });
  });

  it("gives the value as the schema transformed it", () => {
    expect(
      validateWith(
        z.string().transform((text) => text.length),
        "four",
      ),
    ).toEqual({ value: 4 });
    expect(validateWith(v.optional(v.number(), 5), undefined)).toEqual({ value: 5 });
    expect(validateWith(type("string.numeric.parse"), "12")).toEqual({ value: 12 });
  });

  it("gives undefined as a value", () => {
    expect(validateWith(z.undefined(), undefined)).toEqual({ value: undefined });
  });

  it("returns a promise only where the schema does", async () => {
    const slow = v.pipeAsync(
      v.string(),
      v.checkAsync(async (text) => text !== "taken", "is taken"),
    );
    const result = validateWith(slow, "taken");
    expect(result).toBeInstanceOf(Promise);
    expect(await result).toEqual({ issues: [{ path: "", message: "is taken" }] });
    expect(await validateWith(slow, "free")).toEqual({ value: "free" });
  });

  it.each([
    [[], ""],
    [undefined, ""],
    [["a", "b"], "a.b"],
    [[0, "a", 1], "[0].a[1]"],
    [["größe", "_$"], "größe._$"],
    [["a b", "", "0", "x"], '["a b"][""]["0"].x'],
    [[{ key: "items" }, { key: 2 }], "items[2]"],
    [["a", Symbol("s")], "a[Symbol(s)]"],
  ])("writes the path %j as one would in code", (path, expected) => {
    expect(validateWith(failing(path), 1)).toEqual({ issues: [{ path: expected, message: "no" }] });
  });

  it("reports a schema that throws as one problem", () => {
    const schema = schemaOf(() => {
      throw new TypeError("oops");
    });
    expect(validateWith(schema, 1)).toEqual({ issues: [{ path: "", message: "the schema threw: oops" }] });
  });

  it("reports a schema that rejects as one problem", async () => {
    const schema = schemaOf(() => Promise.reject("oops"));
    expect(await validateWith(schema, 1)).toEqual({
      issues: [{ path: "", message: "the schema threw: oops" }],
    });
  });

  it.each([undefined, null, Promise.resolve(undefined), { issues: 5 }])(
    "reports a schema that answers %s as one problem",
    async (answer) => {
      const schema = schemaOf(() => answer);
      expect(await validateWith(schema, 1)).toEqual({
        issues: [{ path: "", message: expect.stringMatching(/^the schema threw: /) }],
      });
    },
  );

  it("reports a refusal without issues as one problem", () => {
    const schema = schemaOf(() => ({ issues: [] }));
    expect(validateWith(schema, 1)).toEqual({
      issues: [{ path: "", message: "refused without giving a reason" }],
    });
  });
});

describe("isSchema", () => {
  it.each(libraries)("knows a schema of %s", (_name, schema) => expect(isSchema(schema)).toBe(true));

  it("knows a schema that is a function", () => {
    expect(typeof type("string")).toBe("function");
    expect(isSchema(type("string"))).toBe(true);
  });

  it.each([
    undefined,
    null,
    "string",
    { type: "string" },
    { "~standard": null },
    { "~standard": { version: 1 } },
    { "~standard": { version: 2, validate: () => ({ value: 1 }) } },
  ])("does not take %j for one", (value) => expect(isSchema(value)).toBe(false));
});

describe("checkSchema", () => {
  it("accepts a schema and none", () => {
    expect(() => checkSchema("the input", z.string())).not.toThrow();
    expect(() => checkSchema("the input", undefined)).not.toThrow();
  });

  it("refuses anything else and names the option", () => {
    expect(() => checkSchema("the input of /charge", { amount: "number" })).toThrow(
      expect.objectContaining({
        code: "INVALID_ARGUMENT",
        message: expect.stringMatching(/^the input of \/charge must be a Standard Schema .* got an object/),
      }),
    );
  });
});

it("describes problems in one line", () => {
  expect(
    describeProblems([
      { path: "items[0].price", message: "must be a number" },
      { path: "", message: "is incomplete" },
    ]),
  ).toBe("items[0].price: must be a number; is incomplete");
});
