/** The logger interface, the default logger, and the fields of lines about messages. */

import { runInNewContext } from "../async/outside-context.ts";
import { invalidArgument } from "../errors.ts";
import { protocolHeader } from "../protocol/codec.ts";
import type { Delivery } from "../transport/transport.ts";
import { type Level, logLine } from "./log-line.ts";

/** The logger that confluo writes to. A pino logger fits without an adapter. Errors are in the field `err`, as in pino. */
export interface Logger {
  debug(details: object, message: string): void;
  info(details: object, message: string): void;
  warn(details: object, message: string): void;
  error(details: object, message: string): void;
}

const LEVELS: readonly Level[] = ["debug", "info", "warn", "error"];

/**
 * The default logger of services and brokers. It writes information, warnings and errors to standard error, and drops `debug`.
 * Lines are text on a terminal, otherwise JSON with one object per line; `CONFLUO_LOG=text` or `CONFLUO_LOG=json` overrides
 * this. An error includes its stack and its causes; a warning includes the error and its causes in one line.
 */
export const consoleLogger: Logger = {
  debug() {},
  info: (details, message) => write("info", details, message),
  warn: (details, message) => write("warn", details, message),
  error: (details, message) => write("error", details, message),
};

/** A logger that drops every line. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/**
 * Returns a logger that adds fields to every line and never throws: if the given logger throws, the line goes to standard
 * error.
 *
 * @throws `INVALID_ARGUMENT` if the given logger lacks one of the four methods.
 */
export function guardedLogger(given: Logger | undefined, fields: object = {}): Logger {
  const logger = given === undefined ? consoleLogger : checked(given);
  const line =
    (level: Level) =>
    (details: object, message: string): void => {
      const all = { ...fields, ...details };
      try {
        const written: unknown = runInNewContext(() => logger[level](all, message));
        // A logger may be asynchronous; its rejection is ignored.
        if (written instanceof Promise) written.catch(() => undefined);
      } catch {
        if (logger !== consoleLogger) write(level, all, message);
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

function write(level: Level, details: object, message: string): void {
  console.error(logLine(level, details, message));
}

/** Fields of a line about a message, in addition to those of the service. */
export interface MessageFields {
  readonly path: string;
  readonly messageId: string;
  readonly from: string;
  /** Trace and span of the sender, if the message has a `traceparent` header (W3C Trace Context). */
  readonly traceId?: string;
  readonly spanId?: string;
}

const TRACEPARENT = /^[\da-f]{2}-(?!0{32})([\da-f]{32})-(?!0{16})([\da-f]{16})-[\da-f]{2}(?:-|$)/;

/** Returns the fields of a line about a delivery. */
export function messageFields({ envelope, message }: Pick<Delivery, "envelope" | "message">): MessageFields {
  const { path, messageId, from } = envelope;
  const [, traceId, spanId] =
    TRACEPARENT.exec(protocolHeader(message.properties.headers, "traceparent") ?? "") ?? [];
  if (traceId === undefined || spanId === undefined) return { path, messageId, from };
  return { path, messageId, from, traceId, spanId };
}
