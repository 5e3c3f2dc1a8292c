/** Encodes bodies as JSON or bytes, and refuses values that JSON would silently drop, empty or change. */

import { ConfluoError, describeThrown, invalidArgument } from "../../errors.ts";
import type { Message, Properties } from "../message.ts";

export const JSON_TYPE = "application/json";
export const BYTES_TYPE = "application/octet-stream";

/** An encoded body with its content type. */
export class EncodedBody {
  readonly contentType: string;
  /** The body as text, if it is JSON. */
  readonly json: string | undefined;
  /** The size in bytes. */
  readonly length: number;
  /** True if decoding it gives a value that equals the original. */
  readonly isSame: boolean;
  readonly #bytes: Uint8Array | undefined;

  constructor(content: string | Uint8Array, isSame = true) {
    this.isSame = isSame;
    const isText = typeof content === "string";
    this.contentType = isText ? JSON_TYPE : BYTES_TYPE;
    this.json = isText ? content : undefined;
    this.#bytes = isText ? undefined : content;
    this.length = isText ? Buffer.byteLength(content) : content.length;
  }

  /**
   * The body as bytes. JSON is encoded each time, so that a holder of this object does not keep both the text and the bytes in
   * memory.
   */
  get bytes(): Uint8Array {
    return this.#bytes ?? Buffer.from(this.json as string);
  }
}

/** A message whose body is encoded to bytes only if it travels by itself. */
export class EncodedMessage implements Message {
  readonly properties: Properties;
  /** The body as text, if it is JSON. */
  readonly json: string | undefined;
  /** The size of the body in bytes. */
  readonly length: number;
  readonly #encoded: EncodedBody;

  constructor(encoded: EncodedBody, properties: Properties) {
    this.#encoded = encoded;
    this.json = encoded.json;
    this.length = encoded.length;
    this.properties = properties;
  }

  get body(): Uint8Array {
    return this.#encoded.bytes;
  }
}

const nothing = new EncodedBody("");

/**
 * Encodes a JSON value as JSON, a `Uint8Array` as it is, and `undefined` as an empty JSON body.
 *
 * @throws `INVALID_ARGUMENT`, with the place in the value, for what JSON cannot represent, such as a cycle, a bigint or a
 * `Map`.
 */
export function encodeBody(value: unknown): EncodedBody {
  if (value === undefined) return nothing;
  // A copy, because the body is written to the socket later and the caller may change its own array meanwhile.
  if (value instanceof Uint8Array)
    return new EncodedBody(new Uint8Array(value), value.constructor === Uint8Array);
  const { json, isSame } = toJson(value);
  return new EncodedBody(json, isSame);
}

/**
 * The way in which JSON represents a value. `same`: it reads back as an equal value. `converted`: it reads back as something
 * else (a `Date` as text, an instance of a class as its fields). `refused`: it would be lost.
 */
export type Carriage = "same" | "converted" | "refused";

const SAME = 0;
const CONVERTED = 1;
const REFUSED = 2;
type Rank = typeof SAME | typeof CONVERTED | typeof REFUSED;

/**
 * Encodes a value as JSON.
 *
 * @throws `INVALID_ARGUMENT` for what JSON cannot represent. The message names the place, such as `body.items[2].when`, and the
 * remedy.
 */
export function toJson(value: unknown): { readonly json: string; readonly isSame: boolean } {
  let json: string | undefined;
  let rank: Rank;
  try {
    json = JSON.stringify(value);
    // After JSON.stringify, which throws if the value contains itself, so that this walk ends.
    rank = rankOf(value);
  } catch (cause) {
    throw refusalOf(value) ?? unwritable(cause);
  }
  if (rank === REFUSED || json === undefined) throw refusalOf(value) ?? notJson("body", value);
  return { json, isSame: rank === SAME };
}

function unwritable(cause: unknown): ConfluoError {
  const reason = describeThrown(cause).message.replace(/\s*\n\s*/g, " ");
  return new ConfluoError("INVALID_ARGUMENT", `The body cannot be written as JSON: ${reason}.`, { cause });
}

// Every body is walked through, so this creates no text, no list of keys and no path unless something is wrong.
function rankOf(value: unknown): Rank {
  switch (typeof value) {
    case "string":
    case "boolean":
      return SAME;
    case "number":
      return value - value === 0 ? SAME : REFUSED;
    case "object":
      return value === null ? SAME : rankOfObject(value);
    case "bigint":
      return hasToJson(value) ? CONVERTED : REFUSED;
    default:
      return REFUSED;
  }
}

function rankOfObject(value: object): Rank {
  let highest: Rank = SAME;
  if (Array.isArray(value)) {
    if (hasToJson(value)) return CONVERTED;
    for (let index = 0; index < value.length; index += 1) {
      const element: unknown = value[index];
      if (isScalar(element)) continue;
      const rank = rankOf(element);
      if (rank > highest) highest = rank;
      if (highest === REFUSED) break;
    }
    return highest;
  }
  const isOrdinary = Object.getPrototypeOf(value) === Object.prototype;
  if (isOrdinary) {
    if (hasToJson(value)) return CONVERTED;
  } else {
    const { rank, isWhole } = special(value);
    if (isWhole) return rank;
    highest = rank;
  }
  for (const key in value) {
    if (!isOrdinary && !Object.hasOwn(value, key)) continue;
    const field = (value as Record<string, unknown>)[key];
    if (isScalar(field)) continue;
    const rank = field === undefined ? CONVERTED : rankOf(field);
    if (rank > highest) highest = rank;
    if (highest === REFUSED) break;
  }
  return highest;
}

// Most fields are scalars, which need no further call.
function isScalar(value: unknown): boolean {
  return typeof value === "string" || (typeof value === "number" && value - value === 0);
}

interface Special {
  readonly rank: Rank;
  /** True if the fields of the value do not matter. */
  readonly isWhole: boolean;
  /** The remedy, if the value is refused. */
  readonly cure?: string;
}

const plain: Special = { rank: SAME, isWhole: false };
const instance: Special = { rank: CONVERTED, isWhole: false };
const converted: Special = { rank: CONVERTED, isWhole: true };

function refuse(cure: string): Special {
  return { rank: REFUSED, isWhole: true, cure };
}

// Checks what a value can do instead of its class, because it may come from another realm, such as that of a test runner.
function special(value: object): Special {
  if (isPlainObject(value)) return hasToJson(value) ? converted : plain;
  const tag = Object.prototype.toString.call(value);
  if (ArrayBuffer.isView(value) || /^\[object (Shared)?ArrayBuffer\]$/.test(tag))
    return refuse("bytes are the whole body, a Uint8Array, or text, such as base64");
  if (tag === "[object Date]" && Number.isNaN(Number(value))) return refuse("the date is not valid");
  if (hasToJson(value)) return converted;
  const { then } = value as { readonly then?: unknown };
  if (typeof then === "function") return refuse("await it first");
  if (value instanceof Error || tag === "[object Error]")
    return refuse("send those of its fields that matter, such as its message");
  if (/^\[object (Number|String|Boolean)\]$/.test(tag)) return converted;
  if (Symbol.iterator in value || Symbol.asyncIterator in value)
    return refuse("make an object or an array of it");
  if (Object.keys(value).length === 0)
    return refuse("make a plain object of it, or give its class a toJSON: it has no fields that show");
  return instance;
}

/** Returns whether a value is an object as a literal creates it, in any realm. */
export function isPlainObject(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function hasToJson(value: unknown): boolean {
  return typeof (value as { readonly toJSON?: unknown }).toJSON === "function";
}

/**
 * Returns the error for a value, with the place of what is wrong; `undefined` if nothing is. It may be slow, because the value
 * is refused.
 */
function refusalOf(value: unknown): ConfluoError | undefined {
  try {
    return lookFor(value, "body", new Set());
  } catch {
    return undefined; // a getter threw, or it is nested too deeply
  }
}

function lookFor(value: unknown, place: string, within: Set<object>): ConfluoError | undefined {
  if (typeof value !== "object" || value === null) {
    return rankOf(value) === REFUSED ? notJson(place, value) : undefined;
  }
  if (within.has(value)) return undefined;
  const isList = Array.isArray(value);
  const { isWhole, cure } = isList ? { ...plain, isWhole: hasToJson(value) } : special(value);
  if (cure !== undefined) return refusal(place, cure, value);
  if (isWhole) return undefined;
  within.add(value);
  // The holes of a list count, although they have no keys.
  const keys: readonly (string | number)[] = isList ? [...value.keys()] : Object.keys(value);
  for (const key of keys) {
    const field = (value as Record<string | number, unknown>)[key];
    if (field === undefined && !isList) continue;
    const found = lookFor(field, `${place}${segment(key)}`, within);
    if (found !== undefined) return found;
  }
  within.delete(value);
  return undefined;
}

function segment(key: string | number): string {
  if (typeof key === "number") return `[${key}]`;
  return /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
}

function notJson(place: string, value: unknown): ConfluoError {
  return refusal(place, cureOf(value), value);
}

function cureOf(value: unknown): string {
  switch (typeof value) {
    case "number":
      return "JSON has no such number: send null, or text";
    case "bigint":
      return "send it as text";
    case "function":
      return "call it, or leave it out";
    case "undefined":
      return "send null in its place, or leave it out of the list";
    default:
      return "leave it out";
  }
}

function refusal(place: string, cure: string, value: unknown): ConfluoError {
  return invalidArgument(place, `a JSON value (${cure})`, value);
}
