/** Reads the time at which a message was dead-lettered, which RabbitMQ writes into `x-death`. */

import type { Message } from "./message.ts";

/**
 * Returns when a message last left a queue by dead-lettering, in seconds on the broker's clock; `undefined` if it never did, or
 * if the time cannot be read.
 */
export function leftAt({ properties: { headers } }: Message): number | undefined {
  const deaths = member(headers, "x-death");
  const time = member(Array.isArray(deaths) ? deaths[0] : undefined, "time");
  const seconds = typeof time === "number" ? time : member(time, "value");
  return typeof seconds === "number" && Number.isFinite(seconds) ? seconds : undefined;
}

function member(value: unknown, name: string): unknown {
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return undefined;
  return (value as Readonly<Record<string, unknown>>)[name];
}
