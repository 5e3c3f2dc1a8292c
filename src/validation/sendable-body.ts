/** Validates outgoing bodies in the form in which their receivers will read them, and removes undeclared fields. */

import { isDeepStrictEqual } from "node:util";
import type { MaybePromise } from "../async/maybe-promise.ts";
import { sidesAgree } from "../contract/json-schema.ts";
import { type AnySchema, type Validated, type ValidationIssue, validateWith } from "../contract/schema.ts";
import { type EncodedBody, encodeBody } from "../protocol/codec.ts";
import { isPlainObject } from "../protocol/encoding/encoded-body.ts";
import { type Checked, invalid } from "./validated.ts";

/** A body to send, before it is validated. */
export interface Unchecked extends Checked {
  readonly body: unknown;
  readonly encoded: EncodedBody;
}

/**
 * Validates a body in the form in which the receiver will read it, and chooses the form to send. That is the first of these
 * which the schema turns into the same value: the value that the schema returned, which has no undeclared fields; the given
 * body without undeclared fields; the given body. Returns a promise only if the schema does.
 *
 * @throws an error with the given code, with the problems in its data.
 */
export function sendable(schema: AnySchema, unchecked: Unchecked): MaybePromise<EncodedBody> {
  const { body, encoded } = unchecked;
  const given = encoded.isSame ? body : read(encoded);
  const result = validateWith(schema, given);
  // Decodes the body again, because the sender may have changed the original meanwhile.
  if (result instanceof Promise)
    return result.then((later) => chosen(schema, unchecked, read(encoded), later));
  return chosen(schema, unchecked, given, result);
}

/**
 * Encodes a body at once, because the sender may change it afterwards, and validates it like {@link sendable}. `validate` is
 * `undefined` if the body is already known to be valid; otherwise its promise resolves or rejects with the result. `bounded`
 * throws for a body that is too large.
 */
export function outgoingBody(
  schema: AnySchema,
  { body, code, what }: Checked & { readonly body: unknown },
  bounded: (body: EncodedBody) => EncodedBody,
): { readonly body: EncodedBody; readonly validate: (() => Promise<EncodedBody>) | undefined } {
  const encoded = encodeBody(body);
  let valid: MaybePromise<EncodedBody>;
  try {
    valid = sendable(schema, { body, encoded, code, what });
  } catch (error) {
    return { body: bounded(encoded), validate: () => Promise.reject(error) };
  }
  if (!(valid instanceof Promise)) return { body: bounded(valid), validate: undefined };
  const later = valid.then(bounded);
  later.catch(() => undefined); // the caller of `validate` gets the error
  return { body: bounded(encoded), validate: () => later };
}

/**
 * Returns the data of a declared error as it is sent: validated like {@link sendable}, or unchanged if the schema refuses it.
 */
export function sendableData(schema: AnySchema, data: unknown): MaybePromise<unknown> {
  try {
    const encoded = encodeBody(data);
    const asRead = (valid: EncodedBody): unknown => (valid === encoded ? data : read(valid));
    const valid = sendable(schema, { body: data, encoded, code: "INVALID_OUTPUT", what: "The data" });
    return valid instanceof Promise ? valid.then(asRead, () => data) : asRead(valid);
  } catch {
    return data;
  }
}

// `given` is the body as the receiver reads it.
function chosen(
  schema: AnySchema,
  unchecked: Unchecked,
  given: unknown,
  result: Validated,
): MaybePromise<EncodedBody> {
  if (result.issues !== undefined) return refuse(schema, unchecked, result.issues);
  const { value } = result;
  return given === undefined || isSame(value, given)
    ? unchecked.encoded
    : changed(schema, { encoded: unchecked.encoded, given }, value);
}

/** A body that its schema turns into another value. */
interface Changed {
  readonly encoded: EncodedBody;
  /** The body as the receiver reads it. */
  readonly given: unknown;
}

function changed(schema: AnySchema, sending: Changed, value: unknown): MaybePromise<EncodedBody> {
  const returned = sidesAgree(schema) === false ? undefined : encodedIfPossible(value);
  if (returned === undefined) return declared(schema, sending, value);
  // Validates the returned value again even if both sides of the schema agree. zod does not show the steps that run before a
  // schema, and they may read fields that the schema removed.
  const again = validateWith(schema, returned.isSame ? value : read(returned));
  const pick = (later: Validated): MaybePromise<EncodedBody> =>
    isStable(later, value) ? returned : declared(schema, sending, value);
  return again instanceof Promise ? again.then(pick) : pick(again);
}

// Defaults and transformations are left to the receiver. So this sends the given body without the fields that the schema
// removed, if the schema turns that into the same value. A schema that reads one field and returns another would miss the
// removed one.
function declared(schema: AnySchema, { given, encoded }: Changed, value: unknown): MaybePromise<EncodedBody> {
  const rest = without(given, value);
  if (rest === given) return encoded;
  const decide = (again: Validated): MaybePromise<EncodedBody> => {
    if (again.issues !== undefined) return encoded;
    const [made, sent] = [again.value, encodeBody(rest)];
    if (isSame(made, value)) return sent;
    // A value that differs on every run, such as an id made by default, must not count as a difference. So the schema runs once
    // more.
    const pick = (once: Validated): EncodedBody =>
      once.issues === undefined && isAlike(made, value, once.value) ? sent : encoded;
    const once = validateWith(schema, given);
    return once instanceof Promise ? once.then(pick) : pick(once);
  };
  const again = validateWith(schema, rest);
  return again instanceof Promise ? again.then(decide) : decide(again);
}

/**
 * Returns whether two values are equal, apart from parts in which a third value, made in the same way as the second, also
 * differs from the second.
 */
function isAlike(value: unknown, other: unknown, third: unknown): boolean {
  if (isSame(value, other)) return true;
  if (isSame(third, other) || typeof value !== typeof other) return false;
  const [fields, others, thirds] = [fieldsOf(value), fieldsOf(other), fieldsOf(third)];
  if (fields === undefined || others === undefined || thirds === undefined)
    return fields === others && Array.isArray(value) === Array.isArray(other);
  const keys = Object.keys(others);
  const isComplete = keys.length === Object.keys(fields).length;
  return isComplete && keys.every((key) => isAlike(fields[key], others[key], thirds[key]));
}

/** Returns the given value without the fields that the schema removed; the same object if there are none. */
function without(given: unknown, value: unknown): unknown {
  if (Array.isArray(given)) {
    if (!Array.isArray(value) || given.length !== value.length) return given;
    const rest = given.map((each, index) => without(each, value[index]));
    return rest.some((each, index) => each !== given[index]) ? rest : given;
  }
  const [fields, kept] = [fieldsOf(given), fieldsOf(value)];
  if (fields === undefined || kept === undefined) return given;
  const entries = Object.keys(fields).filter((key) => Object.hasOwn(kept, key));
  const rest = entries.map((key) => [key, without(fields[key], kept[key])] as const);
  const isAll = entries.length === Object.keys(fields).length;
  return isAll && rest.every(([key, each]) => each === fields[key]) ? given : Object.fromEntries(rest);
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  return value as Readonly<Record<string, unknown>>;
}

function isStable(again: Validated, value: unknown): boolean {
  return again.issues === undefined && isSame(again.value, value);
}

function encodedIfPossible(value: unknown): EncodedBody | undefined {
  try {
    return encodeBody(value);
  } catch {
    return undefined; // the value is what the receiver's handler gets, so it may be one that JSON cannot carry
  }
}

/** Returns the body as its receiver reads it. */
function read({ json, bytes }: EncodedBody): unknown {
  if (json === undefined) return bytes;
  return json === "" ? undefined : JSON.parse(json);
}

/** Returns whether two values are equal for a receiver: a field that is `undefined` is not sent. */
function isSame(value: unknown, other: unknown): boolean {
  if (value === other) return true;
  if (typeof value !== "object" || typeof other !== "object" || value === null || other === null)
    return Number.isNaN(value) && Number.isNaN(other);
  if (Array.isArray(value)) return Array.isArray(other) && hasSameElements(value, other);
  if (Array.isArray(other) || !isPlainObject(value) || !isPlainObject(other))
    return isDeepStrictEqual(value, other);
  return hasSameFields(value as Fields, other as Fields);
}

type Fields = Readonly<Record<string, unknown>>;

// Runs for every body with a schema, and most bodies contain only scalars. So it makes no lists of keys, and few calls.
function hasSameElements(elements: readonly unknown[], others: readonly unknown[]): boolean {
  if (elements.length !== others.length) return false;
  for (let index = 0; index < others.length; index += 1) {
    if (elements[index] !== others[index] && !isSame(elements[index], others[index])) return false;
  }
  return true;
}

// An object inherits only objects and functions, such as `__proto__` and `toString`. So only for these does it matter whether
// the field is the object's own.
function hasSameFields(fields: Fields, others: Fields): boolean {
  let more = 0;
  for (const key in fields) {
    const field = fields[key];
    if (field === undefined) continue;
    const other = others[key];
    const isScalar = typeof other !== "object" && typeof other !== "function";
    if (!isScalar && !Object.hasOwn(others, key)) return false;
    if (field !== other && !isSame(field, other)) return false;
    more += 1;
  }
  for (const key in others) {
    if (others[key] === undefined) continue;
    if (fields[key] === undefined) return false;
    more -= 1;
  }
  return more === 0;
}

function refuse(schema: AnySchema, unchecked: Unchecked, issues: readonly ValidationIssue[]): Promise<never> {
  const { body, encoded } = unchecked;
  if (encoded.isSame) throw invalid(unchecked, issues);
  const refused = (asGiven: Validated): never => {
    throw invalid(unchecked, issues, asGiven.issues === undefined ? asJson : "");
  };
  const asGiven = validateWith(schema, body);
  return asGiven instanceof Promise ? asGiven.then(refused) : refused(asGiven);
}

const asJson =
  " It was valid before it became JSON, which turns a date into text and an instance into a plain object: let the schema" +
  " accept the encoded form, for a date with z.coerce.date() or z.iso.datetime(), for example.";
