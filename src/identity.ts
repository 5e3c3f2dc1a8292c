/** Identities of instances and messages. */

import { randomBytes } from "node:crypto";

/** Of this package. */
export const CONFLUO_VERSION = "0.1.0";

/**
 * A new instance's identity: 12 characters that no other instance has. Not with a dash first, which a command line would
 * take for an option.
 */
export function newInstanceId(): string {
  const id = randomBytes(9).toString("base64url");
  return id.startsWith("-") ? newInstanceId() : id;
}

/** Identities for an instance's messages: the instance's own and a number, unique without asking for randomness. */
export function messageIds(instance: string): () => string {
  let count = 0;
  return () => {
    count += 1;
    return `${instance}-${count.toString(36)}`;
  };
}
