import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  checkHeaders,
  decodeBody,
  decodeQuery,
  encodeBody,
  encodeQuery,
  header,
  protocolHeader,
  userHeaders,
} from "./codec.ts";
import { readEnvelope } from "./envelope.ts";
import type { Properties, WireHeaders } from "./message.ts";

function roundTrip(value: unknown): unknown {
  const { bytes, contentType } = encodeBody(value);
  return decodeBody({ body: bytes, properties: { contentType } });
}

function decode(text: string | Uint8Array, properties: Properties = {}): unknown {
  return decodeBody({ body: typeof text === "string" ? Buffer.from(text) : text, properties });
}

describe("bodies", () => {
  it("of JSON come back as they were", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(roundTrip(value)).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
    expect(roundTrip("\uFFFD kept")).toBe("\uFFFD kept");
  });

  it("of bytes come back as a copy of their own", () => {
    const bytes = Uint8Array.of(0, 255, 7);
    const back = roundTrip(bytes) as Uint8Array;
    expect(back).toEqual(bytes);
    expect(back.constructor).toBe(Uint8Array);
    expect(back.buffer).not.toBe(bytes.buffer);
    expect(roundTrip(Buffer.from("x"))).toEqual(Uint8Array.of(120));
  });

  it("of nothing are empty", () => {
    const { length, contentType } = encodeBody(undefined);
    expect({ length, contentType }).toEqual({ length: 0, contentType: "application/json" });
    expect(roundTrip(undefined)).toBeUndefined();
    expect(roundTrip(new Uint8Array(0))).toEqual(new Uint8Array(0));
  });

  it("that JSON would silently empty are refused", () => {
    for (const body of [new Map([[1, 2]]), new Set([1]), Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => encodeBody(body)).toThrow(/body must be a JSON value/);
    }
  });

  it("that JSON cannot carry are refused with the reason", () => {
    const cycle: Record<string, unknown> = {};
    cycle.self = cycle;
    expect(() => encodeBody(cycle)).toThrow(/circular/);
    for (const value of [1n, () => 1, Symbol("x"), new Float64Array(1), new ArrayBuffer(1)]) {
      expect(() => encodeBody(value)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    }
    const hostile = {
      toJSON() {
        throw "a string";
      },
    };
    expect(() => encodeBody(hostile)).toThrow(/a string/);
  });

  it("are JSON when a foreign sender says so in its own way, or nothing", () => {
    for (const contentType of [
      undefined,
      "",
      "application/json; charset=utf-8",
      "Application/JSON",
      "application/cloudevents+json",
    ]) {
      expect(decode("[1]", contentType === undefined ? {} : { contentType })).toEqual([1]);
    }
    expect(decode("1", { contentEncoding: "utf-8" })).toBe(1);
  });

  it("that cannot be read are MALFORMED_MESSAGE", () => {
    const cases: [string | Uint8Array, Properties][] = [
      ["{", {}],
      ["1", { contentType: "text/plain" }],
      ["1", { contentType: 7 as never }],
      ["1", { contentEncoding: "gzip" }],
      ["1", { contentEncoding: Object.create(null) as never }],
      ["[]", { contentType: "application/vnd.confluo.calls+json" }],
      [Uint8Array.of(0x22, 0xc3, 0x22), {}],
    ];
    for (const [body, properties] of cases) {
      expect(() => decode(body, properties)).toThrow(expect.objectContaining({ code: "MALFORMED_MESSAGE" }));
    }
  });

  it("never pollute a prototype", () => {
    const value = decode('{"__proto__":{"polluted":1}}') as object;
    expect(Object.hasOwn(value, "__proto__")).toBe(true);
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
  });
});

describe("headers", () => {
  it("are strings under names that are not the protocol's", () => {
    expect(checkHeaders({ trace: "t", "Content-X": "" })).toEqual({ trace: "t", "Content-X": "" });
    for (const name of ["CC", "bcc", "x-death", "confluo-kind", "X-Y", ""]) {
      expect(() => checkHeaders({ [name]: "v" })).toThrow(/header's name/);
    }
    expect(() => checkHeaders({ n: 1 as never })).toThrow(/"n" must be a string/);
    for (const odd of [5, ["a"], new Set(["a"]), new (class Hidden {})()]) {
      expect(() => checkHeaders(odd as never)).toThrow(/headers must be an object, or pairs/);
    }
  });

  it("may be pairs of names and values, each name once", () => {
    const expected = { a: "1", b: "2" };
    expect(checkHeaders(new Map(Object.entries(expected)))).toEqual(expected);
    expect(checkHeaders(new Headers(expected))).toEqual(expected);
    expect(checkHeaders(Object.entries(expected) as [string, string][])).toEqual(expected);
    expect(checkHeaders(new Headers())).toEqual({});
    expect(() => checkHeaders(new URLSearchParams("a=1&a=2"))).toThrow(/name must be there once, got "a"/);
    expect(() => checkHeaders(new Map([["a", 1]]) as never)).toThrow(/"a" must be a string/);
  });

  it("have a bound in bytes", () => {
    expect(() => checkHeaders({ big: "€".repeat(11_000) })).toThrow(/33\d\d\d bytes/);
    expect(() => checkHeaders({ ["n".repeat(256)]: "v" })).toThrow(/255 bytes/);
  });

  it("of a foreign sender are read as far as they are text", () => {
    const hostile = JSON.parse(
      '{"__proto__":"p","n":1,"b":true,"t":"x","o":{"a":1},"l":[1],"x-own":"r","confluo-kind":"call","z":null}',
    );
    const read = userHeaders(hostile);
    expect(Object.entries(read)).toEqual([
      ["__proto__", "p"],
      ["n", "1"],
      ["b", "true"],
      ["t", "x"],
    ]);
    expect(Object.getPrototypeOf(read)).toBe(Object.prototype);
  });
});

it("the protocol's headers are read from the table alone, not from what a header named __proto__ brought", () => {
  const table: Record<string, unknown> = { own: "1" };
  Object.setPrototypeOf(table, { [header.query]: "a=1" });
  expect(protocolHeader(table as WireHeaders, header.query)).toBeUndefined();
  expect(protocolHeader(table as WireHeaders, "own")).toBe("1");
});

const decimal = (digits: number, places: number) => ({ "!": "decimal", value: { digits, places } });
const timestamp = (value: unknown) => ({ "!": "timestamp", value });

describe("a value of a header table", () => {
  it.each([
    ["404", "404"],
    [404, "404"],
    [404.0, "404"],
    [-5, "-5"],
    [404n, "404"],
    [9_007_199_254_740_993n, "9007199254740993"],
    [true, "true"],
    [false, "false"],
    [decimal(404, 0), "404"],
    [decimal(40_400, 2), "404"],
    [decimal(15, 1), "1.5"],
    [timestamp(0), "1970-01-01T00:00:00.000Z"],
  ])("is read as text if it is a scalar: %o", (value, text) => {
    expect(protocolHeader({ [header.status]: value }, header.status)).toBe(text);
    expect(userHeaders({ own: value })).toEqual({ own: text });
  });

  it.each([
    null,
    undefined,
    [404],
    { status: 404 },
    { "!": "decimal" },
    decimal("4" as never, 0),
    timestamp("soon"),
    { "!": "other", value: 404 },
    { "!": "timestamp", value: 1e300 },
  ])("is left out if it is none: %o", (value) => {
    expect(protocolHeader({ [header.status]: value }, header.status)).toBeUndefined();
    expect(userHeaders({ own: value })).toEqual({});
  });

  it("is read as text where a client wrote bytes, in the protocol's headers alone", () => {
    expect(protocolHeader({ [header.error]: Buffer.from("GONE") }, header.error)).toBe("GONE");
    expect(protocolHeader({ [header.error]: Uint8Array.of(0xff) }, header.error)).toBeUndefined();
    expect(userHeaders({ own: Buffer.from("x") })).toEqual({});
  });

  it("means what the same text does, whatever header it is of", () => {
    const values = { attempt: 7, wait: 250, unclaimed: 3n, deaths: decimal(1, 0), expires: 5_000 };
    const named = (texts: boolean): Record<string, unknown> =>
      Object.fromEntries(
        Object.entries(values).map(([name, value]) => [
          header[name as keyof typeof values],
          texts ? { attempt: "7", wait: "250", unclaimed: "3", deaths: "1", expires: "5000" }[name] : value,
        ]),
      );
    const read = (headers: Record<string, unknown>) =>
      readEnvelope(
        { body: Buffer.from("1"), properties: { type: "/x", messageId: "m", headers } },
        { lane: "inbox", eventKey: undefined, newId: () => "" },
      );
    expect(read(named(false))).toEqual(read(named(true)));
    expect(read(named(false))).toMatchObject({ attempt: 7, waitMs: 250, deaths: 1, expiresMs: 5_000 });
  });
});

describe("queries", () => {
  it("come back as they were, repeated parameters as a list", () => {
    const query = encodeQuery("a=1&b=%26", { a: [2, true], ü: "x y" });
    expect(decodeQuery(query)).toEqual({ a: ["1", "2", "true"], b: "&", ü: "x y" });
    expect(decodeQuery("")).toEqual({});
    expect(encodeQuery("as=it&is", undefined)).toBe("as=it&is");
  });

  it("may be pairs of names and values, and a name that comes twice is a list", () => {
    expect(encodeQuery("a=1", new URLSearchParams("a=2&b=%26"))).toBe("a=1&a=2&b=%26");
    expect(encodeQuery("", new Map([["a", [1, 2]]]))).toBe("a=1&a=2");
    for (const odd of ["a=1", null, ["a"], new (class Hidden {})()])
      expect(() => encodeQuery("", odd as never)).toThrow(/query must be an object, or pairs/);
  });

  it("refuse values that are no text", () => {
    for (const value of [null, {}, [[1]]])
      expect(() => encodeQuery("", { v: value })).toThrow(/query parameter "v"/);
  });

  it("never pollute a prototype", () => {
    expect(Object.hasOwn(decodeQuery("__proto__=x"), "__proto__")).toBe(true);
  });
});
