/** What the verbs are told, whether it came as names or as a contract. */

import { type AnyCommand, checkCommand } from "../contract/command.ts";
import { type AnyEvent, checkEvent } from "../contract/event.ts";
import { boundPath } from "../contract/path.ts";
import { invalidArgument, show } from "../errors.ts";
import { checkCommandPath, withSlash } from "../protocol/address.ts";
import type { Command } from "./pending-call.ts";

/** @throws `INVALID_ARGUMENT`. */
export function routePattern(path: string): string {
  checkCommandPath(path);
  if (path.includes("?"))
    throw invalidArgument("The path of a route", "free of ?, which begins a query", path);
  return withSlash(path);
}

/**
 * One with values for its parameters says where a message goes, not what is handled.
 *
 * @throws `INVALID_ARGUMENT`.
 */
export function refuseAddressed({ path, pattern }: AnyCommand | AnyEvent): void {
  if (pattern === undefined) return;
  const expected = "the contract itself, without .at()";
  throw invalidArgument(`What is registered for ${show(pattern)}`, expected, path);
}

/** @throws `INVALID_ARGUMENT` for what is no contract. */
export function eventTarget(target: string | AnyEvent): {
  readonly pattern: string;
  readonly contract: AnyEvent | undefined;
} {
  if (typeof target === "string") return { pattern: target, contract: undefined };
  checkEvent(target);
  return { pattern: target.path, contract: target };
}

/** @throws `INVALID_ARGUMENT` for what is no contract, or lacks a parameter's value. */
export function commandArguments(
  target: string | AnyCommand,
  rest: readonly unknown[],
): { readonly command: Command; readonly body: unknown; readonly options: object | undefined } {
  if (typeof target === "string") {
    const [path, body, options] = rest as [string, unknown, object | undefined];
    return { command: { service: target, target: path, contract: undefined }, body, options };
  }
  checkCommand(target);
  const [body, options] = rest as [unknown, object | undefined];
  return { command: { service: target.service, target: boundPath(target), contract: target }, body, options };
}
