/** The errors with which a verb rejects when its message was not delivered. */

import { ConfluoError, show } from "../errors.ts";
import type { Rejection } from "../transport/transport.ts";

/** Returns the error for a message that was not delivered. `why` is the reason in more detail, if it is known. */
export function rejected(
  rejection: Rejection,
  service: string,
  path: string,
  why?: ConfluoError,
): ConfluoError {
  switch (rejection) {
    case "returned":
      return new ConfluoError(
        "NO_SUCH_SERVICE",
        `No queue takes commands for ${show(service)}: the service never ran at this broker and namespace, or is gone.`,
      );
    case "refused":
      return new ConfluoError(
        "UNAVAILABLE",
        why === undefined
          ? `The broker did not take ${path}: its queue or exchange is not available now.`
          : `The broker did not take ${path}: ${why.message}`,
        { cause: why, data: why?.data },
      );
    case "too-large":
      return new ConfluoError(
        "PAYLOAD_TOO_LARGE",
        `The body of ${path} exceeds the broker's limit on message size.`,
      );
    case "lost":
      return new ConfluoError(
        "CONNECTION_LOST",
        `The connection broke before the broker confirmed ${path}: it may or may not have arrived.`,
      );
    case "invalid":
      return new ConfluoError(
        "INVALID_ARGUMENT",
        `${path} was not sent: ${why?.message ?? "it cannot be encoded."}`,
        { cause: why },
      );
    case "forbidden":
      return new ConfluoError(
        "ACCESS_REFUSED",
        `The broker did not take ${path}: ${why?.message ?? "a right is missing."}`,
        { cause: why },
      );
    default:
      return rejection satisfies never;
  }
}

/** Returns the `PAYLOAD_TOO_LARGE` error for a body that is over the limit; both lengths are in bytes. */
export function tooLarge(path: string, bytes: number, limit: number): ConfluoError {
  return new ConfluoError(
    "PAYLOAD_TOO_LARGE",
    `The body for ${path} takes ${bytes} bytes and the limit is ${limit}: send a reference to it instead.`,
  );
}

/** Returns the `NOT_CONNECTED` error for a call that is made while the service reconnects. */
export function reconnecting(service: string): ConfluoError {
  return new ConfluoError("NOT_CONNECTED", `${service} has lost its connection and is connecting again.`);
}

/** Returns the error for a message that was sent on several connections in a row, each of which broke before the confirm. */
export function likelyCause(path: string, losses: number): ConfluoError {
  return new ConfluoError(
    "CONNECTION_LOST",
    `${losses} connections in a row broke before the broker confirmed ${path}. The message may be the cause, so it is not sent ` +
      "again; it may have arrived. The broker's log says why it closed them.",
  );
}
