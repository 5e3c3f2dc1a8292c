/** An attempt to connect, and the error that explains why it failed. */

import { ConfluoError, isConfluoError } from "../errors.ts";
import type { Transport } from "../transport/transport.ts";

/** An attempt to connect that several callers may wait for. Afterwards it represents the connection. */
export interface Connecting {
  /** Settles when every queue is declared, bound and consumed, or when that failed. */
  readonly done: Promise<void>;
  /** Ends the attempt; later, ends every wait for something on this connection. */
  readonly stop: AbortController;
  /** The number of callers that wait for the attempt. It is given up when the last one stops waiting. */
  waiting: number;
}

/** Returns the reason of the last failed attempt in place of a mere timeout, if there was one. */
export function explained(error: unknown, { lastFailure }: Transport, ms: number): unknown {
  if (!isConfluoError(error, "TIMEOUT") || lastFailure === undefined) return error;
  // The broker was never reached, though it accepted and broke connections: 'lost' would mean that there was a connection.
  const code = lastFailure.code === "CONNECTION_LOST" ? "BROKER_UNREACHABLE" : lastFailure.code;
  return new ConfluoError(code, `${lastFailure.message} Gave up after ${ms} ms.`, {
    data: lastFailure.data,
    cause: lastFailure,
  });
}
