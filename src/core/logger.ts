/** Where confluo's own lines go. */

import { describeThrown } from "../errors.ts";

/** What confluo logs with: pino's shape, so a pino logger fits as it is. */
export interface Logger {
  debug(details: object, message: string): void;
  info(details: object, message: string): void;
  warn(details: object, message: string): void;
  error(details: object, message: string): void;
}

/** Lines on standard error, `debug` left out. Used unless a service is given another. */
export const consoleLogger: Logger = {
  debug() {},
  info: write,
  warn: write,
  error: write,
};

/** Logs nothing. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };

function write(details: object, message: string): void {
  console.error(`confluo: ${message}${explained((details as { readonly error?: unknown }).error, message)}`);
}

// Errors of ours explain themselves; anything else needs its stack.
function explained(error: unknown, message: string): string {
  if (error === undefined) return "";
  const { ours, stack, message: said } = describeThrown(error);
  if (ours !== undefined) return message.includes(ours.message) ? "" : ` ${ours.code}: ${ours.message}`;
  return `\n  ${stack === "" ? said : stack}`;
}
