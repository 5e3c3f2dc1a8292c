/** Where confluo's own lines go. */

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
  const error: unknown = (details as { readonly error?: unknown }).error;
  const cause = error instanceof Error ? `\n  ${error.stack ?? error.message}` : "";
  console.error(`confluo: ${message}${message.includes("\n") ? "" : cause}`);
}
