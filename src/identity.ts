/** The package's version, and ids of instances. */

import { randomBytes } from "node:crypto";

/** Version of this package. */
export const CONFLUO_VERSION = "0.1.0";

/**
 * Returns a new instance's id: 12 characters that no other instance has. It does not begin with a dash, because a command line
 * would interpret it as an option.
 */
export function newInstanceId(): string {
  const id = randomBytes(9).toString("base64url");
  return id.startsWith("-") ? newInstanceId() : id;
}
