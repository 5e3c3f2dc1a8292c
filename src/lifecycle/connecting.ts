/** An attempt to connect, and why it failed. */

import { ConfluoError, isConfluoError } from "../errors.ts";
import type { Transport } from "../transport/transport.ts";

/** An attempt to connect that several may wait for, and then the connection that it made. */
export interface Connecting {
  /** Settles when everything is attached, or when that failed. */
  readonly done: Promise<void>;
  /** Ends the attempt, and later on whoever waits for something on this connection. */
  readonly stop: AbortController;
  /** How many wait for it: it is given up with the last. */
  waiting: number;
}

/** A deadline that passed while no broker was reached says why none was. */
export function explained(error: unknown, { lastFailure }: Transport, ms: number): unknown {
  if (!isConfluoError(error, "TIMEOUT") || lastFailure === undefined) return error;
  // A broker that breaks off each attempt cannot be reached either; 'lost' would mean that it had been.
  const code = lastFailure.code === "CONNECTION_LOST" ? "BROKER_UNREACHABLE" : lastFailure.code;
  return new ConfluoError(code, `${lastFailure.message} Gave up after ${ms} ms.`, {
    data: lastFailure.data,
    cause: lastFailure,
  });
}
