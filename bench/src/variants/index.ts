/** All variants by name, each loaded only in the process that measures it. */

import type { Variant } from "./variant.ts";

export const variants: Readonly<Record<string, () => Promise<Variant>>> = {
  raw: async () => (await import("./raw.ts")).raw,
  "raw-split": async () => (await import("./raw.ts")).rawSplit,
  amqplib: async () => (await import("./raw.ts")).plainAmqplib,
  confluo: async () => (await import("./confluo.ts")).confluo,
};

/** @throws for a name that is not listed. */
export function loadVariant(name: string): Promise<Variant> {
  const load = variants[name];
  if (load === undefined) throw new Error(`There is no variant ${name}.`);
  return load();
}
