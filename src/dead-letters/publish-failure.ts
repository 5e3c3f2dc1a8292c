/** Makes the error for a letter that could not be published. */

import { ConfluoError, isConfluoError } from "../errors.ts";
import type { PublishFailure } from "../transport/amqp-client.ts";

/** The message that was to be published. */
export interface Unpublished {
  /** The outcome for the letter, as a clause: `The letter "m-1" stays`. */
  readonly outcome: string;
  /** The queue that it was published to. */
  readonly queue: string;
  /** A more detailed reason, if known. */
  readonly why: ConfluoError | undefined;
}

/** Makes the error for a letter that the broker did not accept. */
export function publishFailure(failure: PublishFailure, { outcome, queue, why }: Unpublished): ConfluoError {
  switch (failure) {
    case "returned":
      return new ConfluoError(
        "NO_SUCH_SERVICE",
        `${outcome}: the queue ${queue} does not exist. It is declared when an instance of its service connects.`,
      );
    case "refused":
      return new ConfluoError(
        "UNAVAILABLE",
        `${outcome}: the broker did not take it for the queue ${queue}.`,
      );
    case "too-large":
      return new ConfluoError(
        "PAYLOAD_TOO_LARGE",
        `${outcome}: it is over the broker's limit on message size.`,
      );
    case "lost":
      return new ConfluoError(
        "CONNECTION_LOST",
        `${outcome}: the connection broke before the broker confirmed its copy, which may have arrived.`,
      );
    case "invalid":
    case "forbidden":
      return new ConfluoError(
        failure === "invalid" ? "INVALID_ARGUMENT" : "ACCESS_REFUSED",
        `${outcome}: ${why?.message ?? failure}`,
        { cause: why },
      );
    default:
      return failure satisfies never;
  }
}

/** Returns the same error with counts as its data. An error that is not confluo's is returned unchanged. */
export function withCount(error: unknown, data: object): unknown {
  if (!isConfluoError(error)) return error;
  return new ConfluoError(error.code, error.message, { cause: error, data, status: error.status });
}
