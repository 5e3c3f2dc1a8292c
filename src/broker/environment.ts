/** The settings of the broker that come from environment variables. */

import { readFileSync } from "node:fs";
import { ConfluoError, describeThrown } from "../errors.ts";
import type { TlsOptions } from "../transport/rabbitmq/tls-options.ts";

/**
 * Returns the address, or list of addresses, in `CONFLUO_BROKER`; `undefined` if the variable is not set.
 *
 * @throws `INVALID_ARGUMENT` if one of several addresses is empty.
 */
export function brokerFromEnvironment(): string | readonly string[] | undefined {
  const value = process.env.CONFLUO_BROKER?.trim();
  if (value === undefined || value === "") return undefined;
  const urls = value.split(",").map((url) => url.trim());
  if (urls.some((url) => url === "")) {
    // The value itself is not repeated: it may hold a password.
    throw new ConfluoError(
      "INVALID_ARGUMENT",
      `CONFLUO_BROKER must be a URL, or several URLs separated by commas; one of its ${urls.length} entries is empty.`,
    );
  }
  return urls.length === 1 ? (urls[0] as string) : urls;
}

/** The namespace of a broker for which neither an option nor `CONFLUO_NAMESPACE` names one. */
export const DEFAULT_NAMESPACE = "confluo";

/**
 * Returns a broker's options, completed from the environment: the namespace from `CONFLUO_NAMESPACE`, else `confluo`; for
 * `amqps://`, the PEM files that `CONFLUO_CA`, `CONFLUO_CERT` and `CONFLUO_KEY` name.
 *
 * @throws `INVALID_ARGUMENT` for a file that cannot be read.
 */
export function withEnvironment(
  address: unknown,
  { namespace, tls }: { readonly namespace?: string | undefined; readonly tls?: TlsOptions | undefined },
): { readonly namespace: string; readonly tls: TlsOptions | undefined } {
  const urls: readonly unknown[] = Array.isArray(address) ? address : [address];
  const secure = urls.filter((url) => typeof url === "string" && /^amqps:/i.test(url)) as string[];
  return {
    namespace: namespace ?? (process.env.CONFLUO_NAMESPACE?.trim() || DEFAULT_NAMESPACE),
    tls: tls === undefined && secure.length > 0 ? tlsFromEnvironment(secure) : tls,
  };
}

function tlsFromEnvironment(urls: readonly string[]): TlsOptions | undefined {
  const [ca, cert, key] = (["CONFLUO_CA", "CONFLUO_CERT", "CONFLUO_KEY"] as const).map(fileNamedBy);
  if (ca === undefined && cert === undefined && key === undefined) return undefined;
  // If no URL names a user, the certificate identifies the client.
  const isByCertificate = cert !== undefined && !urls.some((url) => url.includes("@"));
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(isByCertificate ? { authentication: "certificate" } : {}),
  };
}

function fileNamedBy(variable: string): Uint8Array | undefined {
  const path = process.env[variable]?.trim();
  if (path === undefined || path === "") return undefined;
  try {
    return readFileSync(path);
  } catch (cause) {
    const text = `${variable} names ${path}, which cannot be read: ${describeThrown(cause).message}.`;
    throw new ConfluoError("INVALID_ARGUMENT", text, { cause });
  }
}
