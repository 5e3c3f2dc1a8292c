/** Describes errors on the terminal: what happened and what to do. */

import { describeThrown, isErrorCode } from "../errors.ts";
import { type ConfluoError, isConfluoError } from "../index.ts";

/** Returns a readable description of an error. */
export function describeError(error: unknown, withStack: boolean): string {
  if (withStack && error instanceof Error) return error.stack ?? String(error);
  if (!isConfluoError(error)) return `confluo: ${describeThrown(error).message}`;
  const { code, message, status, data } = error;
  const isSaid = code === "SERVICE_ERROR" || message.includes(code);
  const isTheirs = status !== undefined && (code === "SERVICE_ERROR" || !isErrorCode(code));
  const kind = isTheirs ? [...(isSaid ? [] : [code]), `status ${status}`].join(", ") : code;
  const more = data === undefined ? "" : `\n${JSON.stringify(data)}`;
  return `confluo: ${message} (${kind})${more}${hint(error)}`;
}

/** Returns an error as one line of JSON. */
export function errorAsJson(error: unknown): string {
  if (!isConfluoError(error)) return JSON.stringify({ error: { message: describeThrown(error).message } });
  const { code, message, status, data } = error;
  return JSON.stringify({ error: { code, message, status, data } });
}

// Names the command that lists valid names, because the name may be misspelt.
function hint({ code }: ConfluoError): string {
  switch (code) {
    case "NO_SUCH_SERVICE":
      return "\nIs the name right? confluo ls lists the services that answer.";
    case "NO_SUCH_ROUTE":
      return "\nIs the path right? confluo show <service> lists the routes.";
    default:
      return "";
  }
}
