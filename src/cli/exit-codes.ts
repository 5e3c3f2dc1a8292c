/** The exit codes of commands, for scripts. */

import { isConfluoError } from "../index.ts";

export const exitCodes = {
  ok: 0,
  /** The request failed: for example, a handler or a check failed, or a message could not be moved. */
  failed: 1,
  /** The command line is not valid. */
  usage: 2,
  /** There is no broker: none was named, it could not be reached, or it refused access. */
  broker: 3,
  timeout: 4,
  /** Ctrl-C or SIGTERM, with the code that shells use. */
  interrupted: 130,
} as const;

/** Ends a command with an exit code and without a further message, because the command has printed one. */
export class EndedError extends Error {
  readonly code: number;

  constructor(code: number) {
    super(`ended with ${code}`);
    this.code = code;
  }
}

/** Returns the exit code for an error. */
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
