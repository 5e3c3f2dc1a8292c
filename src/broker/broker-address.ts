/** Addresses of brokers: their valid forms, and a key that is the same for equivalent addresses. */

import { ConfluoError, invalidArgument } from "../errors.ts";
import { type BrokerUrl, parseBrokerUrl } from "../transport/rabbitmq/broker-url.ts";

/**
 * Parses an address.
 *
 * @throws `INVALID_ARGUMENT`.
 */
export function readAddress(address: unknown): readonly BrokerUrl[] | "memory" {
  const urls: readonly unknown[] = Array.isArray(address) ? address : [address];
  if (urls.length === 0 || !urls.every((url) => typeof url === "string"))
    throw invalidArgument("A broker address", "a URL, a list of URLs or a Broker", address);
  if (!urls.some(isMemory)) return urls.map(parseBrokerUrl);
  if (urls.some((url) => isMemory(url) && /[?#]/.test(url)))
    throw new ConfluoError("INVALID_ARGUMENT", 'The address "memory:" takes no parameters.');
  if (urls.length === 1) return "memory";
  throw invalidArgument("A list of addresses", "amqp: and amqps: URLs only", "memory:");
}

export function isMemory(url: string): boolean {
  return url === "memory:" || url.startsWith("memory://");
}

// Sorted, because the order of a cluster's nodes has no meaning: they are tried in random order.
export function keyOf(address: unknown): string {
  return JSON.stringify(Array.isArray(address) ? [...address].sort() : [address]);
}
