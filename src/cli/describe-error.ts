/** Errors in a terminal: what happened and what to do, not where. */

import { isConfluoError } from "../index.ts";

export function describeError(error: unknown, withStack: boolean): string {
  if (withStack && error instanceof Error) return error.stack ?? String(error);
  if (!isConfluoError(error)) return `confluo: ${error instanceof Error ? error.message : String(error)}`;
  const { code, message, status } = error;
  const isRemote = code === "SERVICE_ERROR" && status !== undefined;
  return `confluo: ${message} (${isRemote ? `status ${status}` : code})`;
}
