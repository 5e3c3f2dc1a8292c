/** All variants by name, each loaded only in the process that measures it. */

import { asItComes, type Variant } from "./variant.ts";

export const variants: Readonly<Record<string, () => Promise<Variant>>> = {
  raw: async () => (await import("./raw.ts")).raw,
  "raw-split": async () => (await import("./raw.ts")).rawSplit,
  "raw-confirmed": async () => (await import("./raw.ts")).rawConfirmed,
  amqplib: async () => (await import("./raw.ts")).plainAmqplib,
  confluo: async () => (await import("./confluo.ts")).confluo,
  "confluo-single": async () => (await import("./confluo.ts")).confluoSingle,
  moleculer: async () => asItComes((await import("./peers/moleculer.ts")).moleculer),
  "moleculer-best": async () => (await import("./peers/moleculer.ts")).moleculerBest,
  "moleculer-nats": async () => (await import("./peers/moleculer.ts")).moleculerNats,
  nest: async () => asItComes((await import("./peers/nest.ts")).nest),
  "nest-best": async () => (await import("./peers/nest.ts")).nestBest,
  golevelup: async () => asItComes((await import("./peers/golevelup.ts")).golevelup),
  "golevelup-best": async () => (await import("./peers/golevelup.ts")).golevelupBest,
  rascal: async () => asItComes((await import("./peers/rascal.ts")).rascal),
  "rascal-best": async () => (await import("./peers/rascal.ts")).rascalBest,
  comq: async () => (await import("./peers/comq.ts")).comq,
  http: async () => (await import("./peers/http.ts")).http,
  grpc: async () => (await import("./peers/grpc.ts")).grpcJs,
};

/** Those of a quick run: each library once, at its best. */
export const quickVariants: readonly string[] = [
  "raw",
  "confluo",
  "confluo-single",
  "moleculer-best",
  "moleculer-nats",
  "nest-best",
  "golevelup-best",
  "rascal-best",
  "comq",
  "http",
];

/** Those that are made of confluo, so that two builds of it can be compared: first confluo as it comes. */
export const confluoVariants: readonly string[] = ["confluo", "confluo-single"];

/** @throws for a name that is not listed. */
export function loadVariant(name: string): Promise<Variant> {
  const load = variants[name];
  if (load === undefined) throw new Error(`There is no variant ${name}.`);
  return load();
}
