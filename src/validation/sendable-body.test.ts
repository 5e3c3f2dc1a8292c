import { type } from "arktype";
import * as v from "valibot";
import { describe, expect, it } from "vitest";
import * as z from "zod";
import type { AnySchema } from "../contract/schema.ts";
import { encodeBody } from "../protocol/codec.ts";
import { sendable, sendableData } from "./sendable-body.ts";

async function sentOf(schema: AnySchema, body: unknown): Promise<unknown> {
  const checked = { code: "INVALID_INPUT", what: "The body" } as const;
  const { json, bytes } = await sendable(schema, { ...checked, body, encoded: encodeBody(body) });
  if (json === undefined) return bytes;
  return json === "" ? undefined : JSON.parse(json);
}

/** A schema that counts its runs, and can tell of no side of its own. */
function counted(schema: AnySchema): { readonly schema: AnySchema; readonly runs: () => number } {
  let runs = 0;
  const { validate, ...props } = schema["~standard"];
  const counting = {
    "~standard": {
      ...props,
      validate: (value: unknown) => {
        runs += 1;
        return validate(value);
      },
    },
  };
  return { schema: counting as AnySchema, runs: () => runs };
}

const row = { id: "1", hash: "secret" };

describe("what is sent", () => {
  it.each<[string, AnySchema, unknown, unknown]>([
    ["an object of zod", z.object({ id: z.string() }), row, { id: "1" }],
    ["an object of valibot", v.object({ id: v.string() }), row, { id: "1" }],
    ["an object of arktype that deletes", type({ id: "string", "+": "delete" }), row, { id: "1" }],
    [
      "nested objects, in lists and records",
      z.object({ a: z.array(z.object({ id: z.string() })), r: z.record(z.string(), z.object({})) }),
      { a: [row, row], r: { x: row }, more: 1 },
      { a: [{ id: "1" }, { id: "1" }], r: { x: {} } },
    ],
    ["a union", z.union([z.object({ id: z.string() }), z.object({ no: z.number() })]), row, { id: "1" }],
    ["a refined object", z.object({ id: z.string() }).refine(async () => true), row, { id: "1" }],
    ["an asynchronous object of valibot", v.objectAsync({ id: v.string() }), row, { id: "1" }],
    ["a trimmed text", z.object({ id: z.string().trim() }), { id: " 1 ", hash: "h" }, { id: "1" }],
    ["what is coerced", z.object({ n: z.coerce.number() }), { n: "5", hash: "h" }, { n: 5 }],
    ["what is caught", z.object({ n: z.number().catch(0) }), { n: "x", hash: "h" }, { n: 0 }],
    [
      "a coerced date",
      z.object({ at: z.coerce.date() }),
      { at: new Date(0), hash: "h" },
      { at: "1970-01-01T00:00:00.000Z" },
    ],
    [
      "an instance's fields",
      z.object({ id: z.string() }),
      new (class {
        id = "1";
        hash = "h";
      })(),
      { id: "1" },
    ],
  ])("is what the schema returned: %s", async (_what, schema, body, sent) => {
    expect(await sentOf(schema, body)).toEqual(sent);
  });

  it.each<[string, AnySchema, unknown]>([
    ["an object that keeps what it does not know", z.looseObject({ id: z.string() }), row],
    ["an object with a rest", z.object({ id: z.string() }).catchall(z.string()), row],
    ["an object of arktype", type({ id: "string" }), row],
    [
      "a field that becomes another",
      z.object({ a: z.string() }).transform(({ a }) => ({ b: a })),
      { a: "1" },
    ],
    ["a codec", z.stringbool(), "yes"],
    [
      "a transformed text of valibot",
      v.pipe(
        v.string(),
        v.transform((given) => given.length),
      ),
      "four",
    ],
    ["a morph of arktype", type({ n: "string.numeric.parse" }), { n: "5" }],
    [
      "what is read before the schema",
      z.preprocess(
        (given) => {
          const { v, n } = given as { readonly v?: number; readonly n: number };
          return v === 2 ? given : { n: n * 100 };
        },
        z.object({ n: z.number() }),
      ),
      { v: 2, n: 5 },
    ],
    ["what is parsed first", z.preprocess((given) => JSON.parse(given as string), z.object({})), '{"a":1}'],
    ["what grows each time", z.object({ n: z.number().overwrite((n) => n + 1) }), { n: 1 }],
    [
      "what loses a field that it needs",
      v.pipe(
        v.object({ a: v.number(), b: v.number() }),
        v.transform(({ a }) => ({ a })),
      ),
      { a: 1, b: 2 },
    ],
    [
      "a list that gets shorter",
      v.pipe(
        v.array(v.number()),
        v.minLength(2),
        v.transform((l) => l.slice(1)),
      ),
      [1, 2],
    ],
    ["nothing", z.object({}).optional(), undefined],
    ["bytes", z.instanceof(Uint8Array), Uint8Array.of(1)],
  ])(
    "is the body as given, since a receiver would make something else of the other: %s",
    async (_what, schema, body) => {
      expect(await sentOf(schema, body)).toEqual(body);
    },
  );

  const text = z.string().transform((given) => new Date(given));
  const order = z.object({
    at: text,
    lines: z.array(z.object({ id: z.string(), n: z.number().default(5) })),
  });
  it.each<[string, AnySchema, unknown, unknown]>([
    ["a default", z.object({ id: z.string(), n: z.number().default(5) }), row, { id: "1" }],
    [
      "a transformed field, and a default in a list",
      order,
      { at: "2030-01-01", lines: [row, { ...row, n: 1 }], hash: "h" },
      { at: "2030-01-01", lines: [{ id: "1" }, { id: "1", n: 1 }] },
    ],
    [
      "a morph of arktype",
      type({ n: "string.numeric.parse", "+": "delete" }),
      { n: "5", hash: "h" },
      { n: "5" },
    ],
    [
      "an id that is new each time",
      z.object({ id: z.string().default(() => crypto.randomUUID()), name: z.string() }),
      { name: "n", hash: "h" },
      { name: "n" },
    ],
    [
      "an instance that is made of it",
      z.object({ id: z.string() }).transform((given) => Object.assign(new (class {})(), given)),
      row,
      { id: "1" },
    ],
  ])("is the body as given, without what is not declared: %s", async (_what, schema, body, sent) => {
    expect(await sentOf(schema, body)).toEqual(sent);
  });

  it("is without an undeclared field that has the name of something inherited", async () => {
    const added = (value: object): AnySchema => counted(z.custom().transform(() => value)).schema;
    const proto = JSON.parse('{"__proto__":{}}') as object;
    for (const [made, given] of [
      [proto, { toString: "hash" }],
      [{ constructor: 1 }, { toString: 1 }],
      [proto, { constructor: "hash" }],
    ] as const)
      expect(await sentOf(added(made), given)).toEqual(made);
  });

  it("is refused with the field's name by a strict object", async () => {
    await expect(async () => sentOf(z.strictObject({ id: z.string() }), row)).rejects.toThrow(/hash/);
  });

  it("takes one run of the schema, and two where it changed the body", async () => {
    const told = counted(z.object({ id: z.string() }));
    const untold = counted(v.object({ id: v.string() }));
    for (const { schema } of [told, untold]) await sentOf(schema, { id: "1" });
    expect([told.runs(), untold.runs()]).toEqual([1, 1]);
    for (const { schema } of [told, untold]) await sentOf(schema, row);
    expect([told.runs(), untold.runs()]).toEqual([3, 3]);
  });

  it("is what was given, though the sender changed it while it was checked", async () => {
    const body = { id: "1" };
    const slow = z.object({ id: z.string() }).refine(() => Promise.resolve(true));
    const sent = sentOf(slow, body);
    body.id = "2";
    expect(await sent).toEqual({ id: "1" });
  });
});

describe("what is checked", () => {
  class Order {
    readonly id = "1";
  }

  it.each<[string, AnySchema, unknown, RegExp]>([
    [
      "a date",
      z.object({ at: z.date() }),
      { at: new Date(0) },
      /at: .*date.*valid before it became JSON.*z\.coerce\.date/,
    ],
    ["a date of valibot", v.object({ at: v.date() }), { at: new Date(0) }, /at: .*before it became JSON/],
    ["an instance", z.object({ o: z.instanceof(Order) }), { o: new Order() }, /o: .*before it became JSON/],
    [
      "a field that is undefined",
      v.object({ a: v.undefined() }),
      { a: undefined },
      /a.*before it became JSON/,
    ],
    ["a buffer", z.instanceof(Buffer), Buffer.from("x"), /before it became JSON/],
  ])("is what the receiver reads: %s", async (_what, schema, body, message) => {
    await expect(async () => sentOf(schema, body)).rejects.toThrow(message);
  });

  it("gets no word on JSON if it is wrong in any case", async () => {
    const schema = z.object({ at: z.date(), n: z.number() });
    const refused: unknown = await sentOf(schema, { at: new Date(0) }).catch((error: unknown) => error);
    expect(refused).toMatchObject({
      code: "INVALID_INPUT",
      data: { problems: [{ path: "at" }, { path: "n" }] },
    });
    expect(String(refused)).not.toMatch(/JSON/);
  });
});

describe("the data of a declared error", () => {
  it("loses what its schema does not declare", async () => {
    expect(sendableData(z.object({ id: z.string() }), row)).toEqual({ id: "1" });
    expect(await sendableData(v.objectAsync({ id: v.string() }), row)).toEqual({ id: "1" });
  });

  it("stays as it is where the schema does not take it, or JSON", async () => {
    for (const data of [
      { id: 1, hash: "h" },
      { id: "1", big: 1n },
    ]) {
      expect(sendableData(z.object({ id: z.string() }), data)).toBe(data);
      expect(await sendableData(v.objectAsync({ id: v.string() }), data)).toBe(data);
    }
  });
});
