/** Converts values of headers to JSON and back. A value that JSON has no type for names its AMQP type. */

import { invalidArgument } from "../errors.ts";
import type { TypedValue, TypeName } from "../protocol/encoding/field-table.ts";

/**
 * A header's value. Texts, booleans, null and lists stay as they are. Any other value is an object with one field, named after
 * its type. A number that JavaScript cannot represent exactly is a string of digits. Examples:
 *
 * `{ "int32": 5 }`, `{ "double": 0.1 }`, `{ "timestamp": 1700000000 }`, `{ "decimal": { "places": 2, "digits": 314 } }`,
 * `{ "base64": "/w==" }` for bytes, `{ "table": { … } }`.
 */
export type RecordedValue =
  | string
  | boolean
  | null
  | readonly RecordedValue[]
  | { readonly base64: string }
  | { readonly table: Readonly<Record<string, RecordedValue>> }
  | { readonly decimal: { readonly places: number; readonly digits: number } }
  | { readonly [Type in Exclude<TypeName, "decimal">]?: number | string };

const INTEGERS: Readonly<Partial<Record<TypeName, readonly [least: bigint, most: bigint]>>> = {
  int8: [-(2n ** 7n), 2n ** 7n - 1n],
  uint8: [0n, 2n ** 8n - 1n],
  int16: [-(2n ** 15n), 2n ** 15n - 1n],
  uint16: [0n, 2n ** 16n - 1n],
  int32: [-(2n ** 31n), 2n ** 31n - 1n],
  uint32: [0n, 2n ** 32n - 1n],
  int64: [-(2n ** 63n), 2n ** 63n - 1n],
  timestamp: [0n, 2n ** 64n - 1n],
};

/** Other names that AMQP clients for JavaScript use for the types. */
const ALIASES: Readonly<Record<string, TypeName>> = {
  byte: "int8",
  unsignedbyte: "uint8",
  short: "int16",
  unsignedshort: "uint16",
  int: "int32",
  unsignedint: "uint32",
  long: "int64",
  float64: "double",
};

/** Converts a header's value, in the notation of AMQP clients for JavaScript, to JSON. */
export function recordedValue(value: unknown): RecordedValue {
  if (typeof value === "string" || typeof value === "boolean") return value;
  if (typeof value === "number") return number(value);
  if (value instanceof Uint8Array) return { base64: Buffer.from(value).toString("base64") };
  if (Array.isArray(value)) return value.map(recordedValue);
  if (typeof value !== "object" || value === null) return null;
  if (isTyped(value)) {
    const { "!": given, value: inner } = value as { readonly "!": string; readonly value: unknown };
    const type = ALIASES[given] ?? (given as TypeName);
    if (type === "decimal") return { decimal: inner as { readonly places: number; readonly digits: number } };
    return { [type]: numeral(inner) };
  }
  const entries = Object.entries(value).map(([name, each]) => [name, recordedValue(each)] as const);
  return { table: Object.fromEntries(entries) };
}

/**
 * Converts a recorded value to the value that a publisher passes.
 *
 * @param what names the value in the error message.
 * @throws `INVALID_ARGUMENT` for a value that is not valid, or that does not fit its AMQP type.
 */
export function headerValue(recorded: unknown, what: string): unknown {
  if (typeof recorded === "boolean" || recorded === null) return recorded;
  if (typeof recorded === "string") {
    if (recorded.isWellFormed()) return recorded;
    throw invalidArgument(what, "well-formed Unicode", recorded);
  }
  if (Array.isArray(recorded)) return recorded.map((each) => headerValue(each, what));
  const names = typeof recorded === "object" ? Object.keys(recorded) : [];
  const [type = ""] = names;
  const inner: unknown = names.length === 1 ? (recorded as Record<string, unknown>)[type] : undefined;
  const value = typedValue(type, inner, what);
  if (value === undefined)
    throw invalidArgument(
      what,
      'a string, true, false, null, a list, or an object with a type and its value, such as { "int32": 5 }',
      recorded,
    );
  return value;
}

function typedValue(type: string, inner: unknown, what: string): unknown {
  if (inner === undefined) return undefined;
  if (type === "base64")
    return typeof inner === "string" && isBase64(inner) ? Buffer.from(inner, "base64") : undefined;
  if (type === "table") return tableOf(inner, what);
  if (type === "float" || type === "double")
    return typeof inner === "number" || isNoNumeral(inner) ? typed(type, Number(inner)) : undefined;
  if (type === "decimal") {
    const { places, digits } = (inner ?? {}) as { readonly places?: unknown; readonly digits?: unknown };
    const fits = isWithin(places, 255) && isWithin(digits, 2 ** 32 - 1);
    return fits ? typed(type, { places, digits }) : undefined;
  }
  const range = Object.hasOwn(INTEGERS, type) ? INTEGERS[type as TypeName] : undefined;
  const integer = range && integerOf(inner);
  if (range === undefined || integer === undefined || integer < range[0] || integer > range[1])
    return undefined;
  // A number where it fits, because all AMQP clients for JavaScript accept numbers.
  return typed(type as TypeName, type === "int64" || type === "timestamp" ? integer : Number(integer));
}

// The numbers that JSON cannot write.
function isNoNumeral(value: unknown): boolean {
  return value === "NaN" || value === "Infinity" || value === "-Infinity";
}

function isTyped(value: object): boolean {
  const { "!": type } = value as { readonly "!"?: unknown };
  const keys = Object.keys(value);
  return typeof type === "string" && keys.length === 2 && keys.includes("value");
}

function typed(type: TypeName, value: unknown): TypedValue {
  return { "!": type, value };
}

// A table with an entry named `!` would be mistaken for a typed value.
function tableOf(inner: unknown, what: string): unknown {
  if (typeof inner !== "object" || inner === null || Array.isArray(inner) || Object.hasOwn(inner, "!"))
    return undefined;
  const entries = Object.entries(inner).map(([name, each]) => [name, headerValue(each, what)] as const);
  return entries.every(([name]) => Buffer.byteLength(name) <= 255) ? Object.fromEntries(entries) : undefined;
}

function integerOf(inner: unknown): bigint | undefined {
  if (typeof inner === "number" && Number.isSafeInteger(inner)) return BigInt(inner);
  return typeof inner === "string" && /^-?\d{1,20}$/.test(inner) ? BigInt(inner) : undefined;
}

function isWithin(value: unknown, most: number): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= most;
}

function numeral(value: unknown): number | string {
  const isExact = typeof value === "number" && Number.isFinite(value);
  if (isExact) return value;
  const number = Number(value);
  return typeof value === "bigint" && Number.isSafeInteger(number) ? number : String(value);
}

// Chooses the type that AMQP clients for JavaScript give to a number without an explicit type.
function number(value: number): RecordedValue {
  if (!Number.isSafeInteger(value)) return { double: value };
  const type = (["int8", "int16", "int32"] as const).find((each) => {
    const [least, most] = INTEGERS[each] ?? [0n, 0n];
    return BigInt(value) >= least && BigInt(value) <= most;
  });
  return { [type ?? "int64"]: value };
}

/** Returns whether a text is valid base64. */
export function isBase64(text: string): boolean {
  return /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text);
}
