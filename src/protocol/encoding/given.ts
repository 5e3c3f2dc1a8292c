/** Reads values from JSON that another program wrote. A value that is missing or of another type is read as an empty one. */

import { scalarText } from "../codec.ts";

/** An object with unknown fields. */
export type Given = Readonly<Record<string, unknown>>;

/** Returns the texts in a list; an empty list if the value is no list. */
export function textsOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((each) => typeof each === "string") : [];
}

/** Returns a list of objects; an empty list if the value is no list. */
export function listOf(value: unknown): readonly Given[] {
  return Array.isArray(value) ? value.map(recordOf) : [];
}

/** Returns an object; an empty one if the value is no object. */
export function recordOf(value: unknown): Given {
  return typeof value === "object" && value !== null ? (value as Given) : {};
}

/** Returns the text of a scalar; an empty text for any other value. */
export function textOf(value: unknown): string {
  return scalarText(value) ?? "";
}

/** Returns a number, also from decimal digits; 0 for any other value. */
export function numberOf(value: unknown): number {
  if (typeof value === "string" && /^\d{1,15}(\.\d+)?$/.test(value)) return Number(value);
  return typeof value === "number" ? value : 0;
}
