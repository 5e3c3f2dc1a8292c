/** Identities of instances and messages. */

import { randomBytes, randomFillSync } from "node:crypto";

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

const SECRET_LENGTH = 11;
// A multiple of three, so that its base64url has no odd end; larger pools are no cheaper for each secret.
const POOL_BYTES = 6 * 1024;

/** Random texts of 11 characters, 66 bits each, cut from a pool: asking for randomness each time would be expensive. */
export class Secrets {
  #pool = "";
  #at = 0;

  next(): string {
    if (this.#at + SECRET_LENGTH > this.#pool.length) {
      this.#pool = randomFillSync(Buffer.allocUnsafe(POOL_BYTES)).toString("base64url");
      this.#at = 0;
    }
    const start = this.#at;
    this.#at += SECRET_LENGTH;
    return this.#pool.slice(start, this.#at);
  }
}
