/**
 * Reads AMQP's field tables without losing the type of a value. JavaScript has one type of number where AMQP has ten, so
 * numbers are returned in a notation that AMQP clients for JavaScript write back as the same type: `{ "!": "int32", value: 5
 * }`.
 */

import type { WireHeaders } from "../message.ts";

/** A value whose type JavaScript cannot represent. */
export interface TypedValue {
  readonly "!": TypeName;
  readonly value: unknown;
}

/** AMQP's types of numbers, and the other types that JavaScript lacks. */
export type TypeName =
  | "int8"
  | "uint8"
  | "int16"
  | "uint16"
  | "int32"
  | "uint32"
  | "int64"
  | "float"
  | "double"
  | "timestamp"
  | "decimal";

interface Reader {
  readonly bytes: Buffer;
  at: number;
  readonly end: number;
}

/** The deepest nesting that is read. No sender nests deeper on purpose, and deeper tables may exhaust the stack. */
const DEEPEST = 256;

/**
 * Reads a table without its length field.
 *
 * @throws `RangeError` if the table is cut short, nested too deep or contains an unknown type.
 */
export function readFieldTable(bytes: Uint8Array): WireHeaders {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return tableIn({ bytes: buffer, at: 0, end: buffer.length }, 0);
}

function tableIn(reader: Reader, depth: number): WireHeaders {
  const entries: [string, unknown][] = [];
  while (reader.at < reader.end) {
    const name = take(reader, take(reader, 1).readUInt8()).toString("utf8");
    entries.push([name, valueIn(reader, depth)]);
  }
  return Object.fromEntries(entries);
}

function valueIn(reader: Reader, depth: number): unknown {
  if (depth > DEEPEST) throw new RangeError("The table is nested too deep.");
  const tag = String.fromCharCode(take(reader, 1).readUInt8());
  switch (tag) {
    case "S":
      return textOf(take(reader, lengthIn(reader)));
    case "x":
      return Buffer.from(take(reader, lengthIn(reader)));
    case "t":
      return take(reader, 1).readUInt8() !== 0;
    case "V":
      return null;
    case "F":
      return tableIn(part(reader), depth + 1);
    case "A": {
      const inner = part(reader);
      const values: unknown[] = [];
      while (inner.at < inner.end) values.push(valueIn(inner, depth + 1));
      return values;
    }
    case "b":
      return typed("int8", take(reader, 1).readInt8());
    case "B":
      return typed("uint8", take(reader, 1).readUInt8());
    case "s":
      return typed("int16", take(reader, 2).readInt16BE());
    case "u":
      return typed("uint16", take(reader, 2).readUInt16BE());
    case "I":
      return typed("int32", take(reader, 4).readInt32BE());
    case "i":
      return typed("uint32", take(reader, 4).readUInt32BE());
    case "l":
      return typed("int64", take(reader, 8).readBigInt64BE());
    case "f":
      return typed("float", take(reader, 4).readFloatBE());
    case "d":
      return typed("double", take(reader, 8).readDoubleBE());
    case "T":
      return typed("timestamp", take(reader, 8).readBigUInt64BE());
    case "D":
      return typed("decimal", {
        places: take(reader, 1).readUInt8(),
        digits: take(reader, 4).readUInt32BE(),
      });
    default:
      throw new RangeError(`There is no type ${JSON.stringify(tag)}.`);
  }
}

function typed(type: TypeName, value: unknown): TypedValue {
  return { "!": type, value };
}

// A text that is not UTF-8 is returned as bytes, because it could not be written again as text.
function textOf(bytes: Buffer): string | Buffer {
  const text = bytes.toString("utf8");
  return Buffer.from(text, "utf8").equals(bytes) ? text : Buffer.from(bytes);
}

function lengthIn(reader: Reader): number {
  return take(reader, 4).readUInt32BE();
}

function part(reader: Reader): Reader {
  const length = lengthIn(reader);
  const at = reader.at;
  take(reader, length);
  return { bytes: reader.bytes, at, end: reader.at };
}

function take(reader: Reader, length: number): Buffer {
  const { bytes, at, end } = reader;
  if (at + length > end) throw new RangeError("The table is cut short.");
  reader.at += length;
  return bytes.subarray(at, at + length);
}
