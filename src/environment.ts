/** What the process's environment says about the broker. */

import type { Logger } from "./core/logger.ts";
import { ConfluoError } from "./errors.ts";

/**
 * The address that `CONFLUO_BROKER` holds, if it does.
 *
 * @throws `INVALID_ARGUMENT` for an empty one among several.
 */
export function brokerFromEnvironment(): string | readonly string[] | undefined {
  const value = process.env.CONFLUO_BROKER?.trim();
  if (value === undefined || value === "") return undefined;
  const urls = value.split(",").map((url) => url.trim());
  if (urls.some((url) => url === "")) {
    // The value itself is not repeated: it may hold a password.
    throw new ConfluoError(
      "INVALID_ARGUMENT",
      `CONFLUO_BROKER must be a URL or URLs with commas between; one of its ${urls.length} entries is empty.`,
    );
  }
  return urls.length === 1 ? (urls[0] as string) : urls;
}

const announced: unique symbol = Symbol.for("confluo.embedded.announced") as never;

/** Says, once for each process, that services meet inside of it. */
export function announceEmbedded(logger: Logger): void {
  const holder = globalThis as { [announced]?: true };
  if (holder[announced]) return;
  holder[announced] = true;
  // It concerns the process, not the service that happens to be the first.
  logger.info(
    { service: undefined, instance: undefined },
    "No broker address given: services meet on the embedded broker inside this process (set CONFLUO_BROKER to use RabbitMQ).",
  );
}
