import { expect, it } from "vitest";
import { headerValue, recordedValue } from "./recorded-value.ts";

it("a value of every type goes through JSON and back", () => {
  const values = [
    "text",
    true,
    null,
    ["a", [{ "!": "int8", value: -5 }]],
    Buffer.from([0, 255]),
    { inner: { "!": "uint8", value: 7 }, list: [] },
    ...(["int8", "uint8", "int16", "uint16", "int32", "uint32"] as const).map((type) => ({
      "!": type,
      value: 7,
    })),
    { "!": "int64", value: -9_007_199_254_740_993n },
    { "!": "int64", value: 7n },
    { "!": "float", value: 1.5 },
    ...[0.1, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY].map((value) => ({
      "!": "double",
      value,
    })),
    { "!": "timestamp", value: 1_700_000_000n },
    { "!": "decimal", value: { places: 2, digits: 314 } },
  ];
  for (const value of values) {
    const line = JSON.stringify(recordedValue(value));
    expect(headerValue(JSON.parse(line), "header"), line).toEqual(value);
  }
});

it("numbers without a type get the one that AMQP clients for JavaScript give them", () => {
  expect([5, 300, 70_000, 5_000_000_000, 0.5].map(recordedValue)).toEqual([
    { int8: 5 },
    { int16: 300 },
    { int32: 70_000 },
    { int64: 5_000_000_000 },
    { double: 0.5 },
  ]);
  expect(recordedValue({ "!": "long", value: 5 })).toEqual({ int64: 5 });
});

it("what no value of AMQP is, is refused", () => {
  const bad: unknown[] = [
    undefined,
    5,
    {},
    { int8: 128 },
    { uint8: -1 },
    { int32: 1.5 },
    { int32: "x" },
    { int64: "9223372036854775808" },
    { timestamp: -1 },
    { double: "nan" },
    { decimal: { places: 256, digits: 1 } },
    { base64: "*" },
    { table: [] },
    { table: { "!": "x" } },
    { toString: 1 },
    { int8: 1, int16: 1 },
    "\ud800",
    [5],
  ];
  for (const value of bad)
    expect(() => headerValue(value, "header h"), JSON.stringify(value)).toThrow(/^header h/);
});
