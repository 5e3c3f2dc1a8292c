import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import { readFieldTable } from "./field-table.ts";

const require = createRequire(import.meta.url);
// amqplib does not export what writes its tables.
const { encodeTable } = require(join(dirname(require.resolve("amqplib")), "lib", "codec.js")) as {
  encodeTable(buffer: Buffer, table: object, at: number): number;
};

function written(table: object): Buffer {
  const buffer = Buffer.alloc(65_536);
  return buffer.subarray(4, encodeTable(buffer, table, 0));
}

it("a table of every type is read as what is written again as the same bytes", () => {
  const bytes = written({
    S: "text é",
    x: Buffer.from([0xff, 0]),
    t: true,
    V: null,
    F: { inner: { "!": "int16", value: -300 }, none: {} },
    A: [{ "!": "uint8", value: 255 }, "x", [null]],
    b: { "!": "int8", value: -1 },
    B: { "!": "uint8", value: 200 },
    s: { "!": "int16", value: 5 },
    u: { "!": "uint16", value: 65_535 },
    I: { "!": "int32", value: 5 },
    i: { "!": "uint32", value: 4_294_967_295 },
    l: { "!": "int64", value: 9_007_199_254_740_993n },
    f: { "!": "float", value: 1.5 },
    d: { "!": "double", value: 2 },
    T: { "!": "timestamp", value: 18_446_744_073_709_551_615n },
    D: { "!": "decimal", value: { places: 2, digits: 314 } },
  });
  const table = readFieldTable(bytes);
  expect(table.l).toEqual({ "!": "int64", value: 9_007_199_254_740_993n });
  expect(table.d).toEqual({ "!": "double", value: 2 });
  expect(written(table).equals(bytes)).toBe(true);
});

it("a text that is no UTF-8 is read as its bytes, and a name that JavaScript knows as any other", () => {
  const bytes = written({ bad: "??", ["__proto__"]: "kept" });
  const at = bytes.indexOf("??");
  bytes[at] = 0xff;
  const table = readFieldTable(bytes);
  expect(table.bad).toEqual(Buffer.from([0xff, 0x3f]));
  expect(Object.hasOwn(table, "__proto__")).toBe(true);
});

it("a table that is cut short, of an unknown type or nested too deep is refused", () => {
  const bytes = written({ a: "text" });
  let deep: object = {};
  for (let n = 0; n < 300; n += 1) deep = { a: deep };
  for (const bad of [bytes.subarray(0, -1), Buffer.from("\u0001a?"), written(deep)])
    expect(() => readFieldTable(bad)).toThrow(RangeError);
});
