/** When a message left a queue by dying, as RabbitMQ wrote it down. */

import type { Message } from "./message.ts";

/** In seconds, on the broker's clock; `undefined` if the message never did, or says so in no way that can be read. */
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
