/** Where confluo's own lines go. */

import { describeThrown, invalidArgument } from "../errors.ts";
import { apart } from "./outside.ts";

/** What confluo logs with: pino's shape, so a pino logger fits as it is. Errors are under pino's name for them, `err`. */
export interface Logger {
  debug(details: object, message: string): void;
  info(details: object, message: string): void;
  warn(details: object, message: string): void;
  error(details: object, message: string): void;
}

type Level = keyof Logger;

const LEVELS: readonly Level[] = ["debug", "info", "warn", "error"];

/** Lines on standard error, `debug` left out. Used unless a service is given another. */
export const consoleLogger: Logger = {
  debug() {},
  info: write,
  warn: write,
  error: write,
};

/** Logs nothing. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/**
 * A logger that adds fields to every line and never throws: a line that the given one fails on goes to standard error.
 *
 * @throws `INVALID_ARGUMENT` if it lacks one of the four methods.
 */
export function guardedLogger(given: Logger | undefined, fields: object = {}): Logger {
  const logger = given === undefined ? consoleLogger : checked(given);
  const line =
    (level: Level) =>
    (details: object, message: string): void => {
      const all = { ...fields, ...details };
      try {
        const written: unknown = apart(() => logger[level](all, message));
        // A logger may be asynchronous, though nobody waits for it.
        if (written instanceof Promise) written.catch(() => undefined);
      } catch {
        if (logger !== consoleLogger) write(all, message);
      }
    };
  return { debug: line("debug"), info: line("info"), warn: line("warn"), error: line("error") };
}

function checked(logger: unknown): Logger {
  const methods = (typeof logger === "object" && logger !== null ? logger : {}) as Partial<Logger>;
  if (LEVELS.every((level) => typeof methods[level] === "function")) return methods as Logger;
  throw invalidArgument(
    "logger",
    "an object with debug, info, warn and error, such as a pino logger",
    logger,
  );
}

function write(details: object, message: string): void {
  const { service, err } = details as { readonly service?: string; readonly err?: unknown };
  const who = service === undefined ? "confluo" : `confluo ${service}`;
  console.error(`${who}: ${message}${explained(err, message)}`);
}

// Errors of ours explain themselves; anything else needs its stack.
function explained(error: unknown, message: string): string {
  if (error === undefined) return "";
  const { ours, stack, message: said } = describeThrown(error);
  if (ours !== undefined) return message.includes(said) ? "" : ` ${ours.code}: ${said}`;
  return `\n  ${stack === "" ? said : stack}`;
}
