/** Identities of instances and messages. */

import { randomBytes } from "node:crypto";

/** Of this package. */
export const CONFLUO_VERSION = "0.1.0";

/** A new instance's identity: 12 characters that no other instance has. */
export function newInstanceId(): string {
  return randomBytes(9).toString("base64url");
}

/** Identities for an instance's messages: the instance's own and a number, unique without asking for randomness. */
export function messageIds(instance: string): () => string {
  let count = 0;
  return () => {
    count += 1;
    return `${instance}-${count.toString(36)}`;
  };
}
