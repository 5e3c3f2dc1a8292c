/** Exit codes, for scripts. */

import { isConfluoError } from "../index.ts";

export const exitCodes = {
  ok: 0,
  /** The request failed: a handler, a check, a message that could not be moved. */
  failed: 1,
  /** The command was not understood. */
  usage: 2,
  /** No broker: none named, not reached, or it refused. */
  broker: 3,
  timeout: 4,
  /** Ctrl-C or SIGTERM, as shells say it. */
  interrupted: 130,
} as const;

/** Ends a command with a code, when it has said everything itself. */
export class EndedError extends Error {
  readonly code: number;

  constructor(code: number) {
    super(`ended with ${code}`);
    this.code = code;
  }
}

/** The code for an error that a command ended with. */
export function exitCodeOf(error: unknown): number {
  if (!isConfluoError(error)) return exitCodes.failed;
  switch (error.code) {
    case "INVALID_ARGUMENT":
      return exitCodes.usage;
    case "NO_BROKER_ADDRESS":
    case "BROKER_UNREACHABLE":
    case "ACCESS_REFUSED":
    case "CONNECTION_LOST":
      return exitCodes.broker;
    case "TIMEOUT":
      return exitCodes.timeout;
    case "CANCELLED":
      return exitCodes.interrupted;
    default:
      return exitCodes.failed;
  }
}
