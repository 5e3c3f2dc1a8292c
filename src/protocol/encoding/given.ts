/** Reads values out of JSON that another program wrote: what is missing or of another kind counts as none of it. */

import { scalarText } from "../codec.ts";

/** An object of which nothing is known. */
export type Given = Readonly<Record<string, unknown>>;

export function textsOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((each) => typeof each === "string") : [];
}

export function listOf(value: unknown): readonly Given[] {
  return Array.isArray(value) ? value.map(recordOf) : [];
}

export function recordOf(value: unknown): Given {
  return typeof value === "object" && value !== null ? (value as Given) : {};
}

export function textOf(value: unknown): string {
  return scalarText(value) ?? "";
}

export function numberOf(value: unknown): number {
  if (typeof value === "string" && /^\d{1,15}(\.\d+)?$/.test(value)) return Number(value);
  return typeof value === "number" ? value : 0;
}
