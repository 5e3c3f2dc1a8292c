/** Formats log lines: text for a terminal, JSON for log collectors. */

import { causeStacksOf, causesOf, lineOf, stacksOf } from "../causes.ts";
import { describeThrown } from "../errors.ts";

/** The severity of a line. */
export type Level = "debug" | "info" | "warn" | "error";

/** Formats a line. An error includes its stack and its causes; a warning includes the error and its causes in one line. */
export function logLine(level: Level, details: object, message: string): string {
  return isForPeople() ? textOf(level, details, message) : jsonOf(level, details, message);
}

// Read for each line, because the variable may be set after this module was loaded.
function isForPeople(): boolean {
  const { CONFLUO_LOG: format } = process.env;
  if (format === "text" || format === "json") return format === "text";
  return process.stderr.isTTY === true;
}

function textOf(level: Level, details: object, message: string): string {
  const { service, err } = details as { readonly service?: string; readonly err?: unknown };
  const who = service === undefined ? "confluo" : `confluo ${service}`;
  return `${who}: ${message}${err === undefined ? "" : explained(level, err, message)}`;
}

// A ConfluoError explains itself. Any other error needs its stack when it is logged as an error.
function explained(level: Level, error: unknown, message: string): string {
  const { ours, message: said } = describeThrown(error);
  if (ours === undefined && level === "error") return `\n  ${stacksOf(error) || lineOf(error)}`;
  if (ours === undefined) return ` ${lineOf(error)}`;
  const own = message.includes(said) ? "" : ` ${ours.code}: ${said}`;
  if (level === "error") return [own, ...causeStacksOf(error)].join("\n  ");
  return [own, ...causesOf(error)].join("; ");
}

function jsonOf(level: Level, details: object, message: string): string {
  const { err, ...fields } = details as { readonly err?: unknown };
  const line = { time: new Date().toISOString(), level, msg: message };
  const told = err === undefined ? {} : { err: errorFields(level, err) };
  try {
    return JSON.stringify({ ...line, ...fields, ...told });
  } catch {
    return JSON.stringify({ ...line, ...told }); // JSON cannot represent one of the fields
  }
}

function errorFields(level: Level, error: unknown): object {
  const { name, message, ours } = describeThrown(error);
  const causes = causesOf(error);
  return {
    type: name,
    ...(ours === undefined ? {} : { code: ours.code, status: ours.status }),
    message,
    ...(causes.length === 0 ? {} : { causes }),
    ...(level === "error" ? { stack: stacksOf(error) } : {}),
  };
}
