/** Messages that no honest sender writes and that RabbitMQ takes. */

import { gzipSync } from "node:zlib";
import type { Options } from "amqplib";
import { CALLS_TYPE } from "../../src/protocol/batch.ts";
import { header } from "../../src/protocol/codec.ts";
import { rawHeaders, rawText } from "./hostile-client.ts";

/** A message, apart from where it goes. */
export interface Hostile {
  readonly what: string;
  readonly body: Uint8Array;
  readonly options: Options.Publish;
}

const LEVELS = 100_000;
const TABLE_BYTES = 60_000;
/** Bytes that no decoder of UTF-8 takes. */
export const NOT_UTF8: Buffer = Buffer.from([0xff, 0xfe, 0xc0, 0x80, 0xed, 0xa0, 0x80, 0xf8]);

/** All of them. Each stays one message with one end, wherever it is sent. */
export function hostileMessages(): readonly Hostile[] {
  return [...bodies(), ...properties(), ...tables(), ...protocolHeaders()];
}

/** Nested deeper than a decoder of JavaScript can follow. Apart from the others since RabbitMQ 4 takes a second for them. */
export function tooDeep(): readonly Hostile[] {
  return [
    of("lists in lists", "1", { headers: rawHeaders(nested("A", TABLE_BYTES)) }),
    of("tables in tables", "1", {
      headers: rawHeaders(nested("F", TABLE_BYTES)),
      contentType: "application/json",
      contentEncoding: "utf-8",
    }),
  ];
}

/** Gathered calls, of which each message may have several ends, or one. */
export function hostileGathered(): readonly Hostile[] {
  const options = { contentType: CALLS_TYPE };
  return [
    of("a gathered call with nothing but an id", '[{"id":""}]', options),
    of(
      "one with fields of the wrong kinds",
      '[{"id":"","path":{},"ms":"1","query":7,"headers":[1]}]',
      options,
    ),
    of("one that may wait for ever", '[{"id":"","path":"/echo","ms":1e300}]', options),
    of(
      "one with a nested body",
      `[{"id":"","path":"/echo","body":${"[".repeat(LEVELS)}${"]".repeat(LEVELS)}}]`,
      options,
    ),
    of(
      "one with __proto__",
      '[{"id":"","path":"/echo","__proto__":{"x":1},"headers":{"__proto__":"x"}}]',
      options,
    ),
    of("gathered calls of any length", `[${'{"id":"","path":"/echo"},'.repeat(5_000)}{"id":""}]`, options),
  ];
}

function of(what: string, body: string | Uint8Array, options: Options.Publish = {}): Hostile {
  return { what, body: Buffer.from(body as string), options };
}

function bodies(): readonly Hostile[] {
  const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024));
  return [
    of("nested arrays", "[".repeat(LEVELS) + "]".repeat(LEVELS)),
    of("nested objects", `${'{"a":'.repeat(LEVELS)}1${"}".repeat(LEVELS)}`),
    of("nesting without an end", "[".repeat(LEVELS)),
    of("__proto__ in the body", '{"__proto__":{"polluted":1},"a":{"__proto__":{"polluted":1}}}'),
    of("constructor in the body", '{"constructor":{"prototype":{"polluted":1}},"toJSON":1,"then":"x"}'),
    of("a number beyond all bounds", '{"n":1e999,"m":-1e999}'),
    of("only such a number", "1e999"),
    of("unpaired surrogates", '"\\ud800\\udfff\\ud800"'),
    of("a byte order mark", "\uFEFF{}"),
    of("a body that is no UTF-8", Buffer.concat([Buffer.from('"'), NOT_UTF8, Buffer.from('"')])),
    of("an overlong encoding", Buffer.from([0x22, 0xc1, 0xa2, 0x22])),
    of("bytes of no kind", Buffer.from(Array.from({ length: 256 }, (_, n) => n))),
    of("a compressed bomb", bomb, { contentEncoding: "gzip" }),
    of("a bomb that claims to be JSON", bomb),
    of("gathered calls that are none", "[]", { contentType: CALLS_TYPE }),
    ...[
      "text/xml",
      "application/json; charset=utf-16",
      "\0",
      "a".repeat(255),
      "+json",
      "__proto__",
      ";;;",
    ].map((contentType) => of(`the content type ${contentType.slice(0, 40)}`, "{}", { contentType })),
    ...["br", "GZIP, gzip", "\0", "x".repeat(255)].map((contentEncoding) =>
      of(`the encoding ${contentEncoding.slice(0, 20)}`, "{}", { contentEncoding }),
    ),
  ];
}

function properties(): readonly Hostile[] {
  const long = "x".repeat(255);
  const broken = rawText(NOT_UTF8);
  const brokenLong = rawText(Buffer.alloc(255, 0xff));
  const paths = [
    "__proto__",
    "/constructor",
    "/%00%ff%",
    "/echo?__proto__=1",
    "/".repeat(255),
    "*",
    "/#",
    "/:name",
    "\0",
  ];
  return [
    ...paths.map((type) => of(`the path ${type.slice(0, 20)}`, "1", { type })),
    ...[long, broken, brokenLong, "\0", "__proto__"].flatMap((text) =>
      (["type", "messageId", "appId", "contentType", "contentEncoding", "correlationId"] as const).map(
        (name) => of(`an odd ${name}`, "1", { [name]: text }),
      ),
    ),
    of("every number at its end", "1", {
      priority: 255,
      timestamp: Number.MAX_SAFE_INTEGER,
      deliveryMode: 2,
    }),
    of("a message that lives long", "1", { expiration: "4294967295" }),
  ];
}

function tables(): readonly Hostile[] {
  const table = (what: string, headers: unknown): Hostile =>
    of(what, "1", { headers: headers as Record<string, unknown> });
  const proto = entry("__proto__", "F", entry("polluted", "S", Buffer.from("1")));
  return [
    table("one huge header", { huge: "x".repeat(TABLE_BYTES) }),
    table(
      "10,000 headers",
      Object.fromEntries(Array.from({ length: 10_000 }, (_, n) => [n.toString(36), null])),
    ),
    table("a table for __proto__", rawHeaders(Buffer.concat([proto, entry("nested", "F", proto)]))),
    table("a text for __proto__", rawHeaders(entry("__proto__", "S", Buffer.from("polluted")))),
    table("headers that hide the methods of objects", {
      toString: "x",
      hasOwnProperty: "y",
      constructor: "z",
    }),
    table(
      "protocol headers by way of __proto__",
      rawHeaders(entry("__proto__", "F", entry(header.path, "S", Buffer.from("/elsewhere")))),
    ),
    table("every type of value", {
      text: "x",
      yes: true,
      nothing: null,
      list: [1, "a", [null, { a: [true] }]],
      table: { a: { b: 1.5 } },
      bytes: Buffer.from(NOT_UTF8),
      time: { "!": "timestamp", value: Number.MAX_SAFE_INTEGER },
      decimal: { "!": "decimal", value: { places: 255, digits: 0xffffffff } },
      float: { "!": "float", value: 1.5 },
      double: Number.MAX_VALUE,
      long: { "!": "int64", value: "-9223372036854775808" },
      short: { "!": "uint16", value: 65_535 },
    }),
    table("names and values that are no UTF-8", { [rawText(NOT_UTF8)]: rawText(NOT_UTF8) }),
    table("a header without a name", { "": "x" }),
    table(
      "the same name many times",
      rawHeaders(Buffer.concat(Array.from({ length: 5_000 }, () => Buffer.from("\x01aV")))),
    ),
    table("copies to elsewhere in the wrong form", {
      "x-death": [{ count: -1, queue: 5 }],
      "x-first-death-queue": 7,
    }),
    of("a user's headers to the brim", "1", {
      headers: { CC: [], BCC: [], big: "€".repeat(15_000), "confluo-x": "y" },
    }),
  ];
}

// What each of the protocol's own headers should never hold.
function protocolHeaders(): readonly Hostile[] {
  const values: readonly unknown[] = [
    ...["", "-1", "1e308", "9".repeat(40), "\0", "__proto__", "%%%&=&__proto__=1", "€".repeat(300)],
    ...[1.5, null, { a: 1 }, [1, [2]], rawText(NOT_UTF8)],
  ];
  const each = Object.values(header).flatMap((name) =>
    values.map((value) =>
      of(`${name} holding ${String(value).slice(0, 20)}`, "1", { headers: { [name]: value } }),
    ),
  );
  const names = Object.values(header);
  const long = "x".repeat(Math.floor(TABLE_BYTES / names.length));
  const all = Object.fromEntries(names.map((name) => [name, long]));
  return [
    ...each,
    of("all of the protocol's headers, long", "1", { headers: all }),
    of("a path beyond what a dead letter takes", "1", {
      headers: { [header.path]: `/${"x".repeat(TABLE_BYTES)}` },
    }),
    of("a wait", "1", { headers: { [header.wait]: "1" } }),
    of("tries beyond all bounds", "1", { headers: { [header.attempt]: "9999999999" } }),
  ];
}

/** An entry of a field table: a text or a table. */
function entry(name: string, type: "S" | "F", value: Uint8Array): Buffer {
  const size = Buffer.alloc(4);
  size.writeUInt32BE(value.length);
  return Buffer.concat([Buffer.of(name.length), Buffer.from(name + type), size, value]);
}

/** A header without a name that holds tables in tables, or lists in lists, as deep as the size allows. */
function nested(type: "A" | "F", bytes: number): Buffer {
  const level = type === "A" ? [0x41] : [0, 0x46];
  const table = Buffer.alloc(bytes);
  let at = 0;
  const open = (start: readonly number[]): void => {
    table.set(start, at);
    table.writeUInt32BE(bytes - at - start.length - 4, at + start.length);
    at += start.length + 4;
  };
  open([0, type.charCodeAt(0)]);
  while (bytes - at >= level.length + 4) open(level);
  // What is left over: nothings in a list, nothings without a name in a table.
  for (let n = 0; at < bytes; n += 1, at += 1) table[at] = type === "A" || n % 2 === 1 ? 0x56 : 0;
  return table;
}
