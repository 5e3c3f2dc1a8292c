/** Reads the targets of routes and subscriptions, which are given as text or as contracts. */

import { type AnyCommand, checkCommand } from "../contract/command.ts";
import { type AnyEvent, checkEvent } from "../contract/event.ts";
import { ConfluoError, invalidArgument, show } from "../errors.ts";
import { checkCommandPath, withSlash } from "../protocol/address.ts";

/** The path or pattern to handle, and its contract if there is one. */
export interface HandledTarget<Contract> {
  readonly pattern: string;
  readonly contract: Contract | undefined;
}

/**
 * Reads the target of a route.
 *
 * @throws `INVALID_ARGUMENT` if the path or contract is not valid, or belongs to another service.
 */
export function handledCommand(service: string, target: string | AnyCommand): HandledTarget<AnyCommand> {
  if (typeof target === "string") return { pattern: routePattern(target), contract: undefined };
  checkCommand(target);
  refuseAddressed(target);
  if (target.service === service) return { pattern: routePattern(target.path), contract: target };
  throw new ConfluoError(
    "INVALID_ARGUMENT",
    `The command ${target.path} belongs to the service ${target.service}: ${service} cannot handle it.`,
  );
}

function routePattern(path: string): string {
  checkCommandPath(path);
  if (path.includes("?"))
    throw invalidArgument("The path of a route", "free of ?, which begins a query", path);
  return withSlash(path);
}

/**
 * Reads the target of a subscription.
 *
 * @throws `INVALID_ARGUMENT` if the contract is not valid.
 */
export function handledEvent(target: string | AnyEvent): HandledTarget<AnyEvent> {
  if (typeof target === "string") return { pattern: target, contract: undefined };
  checkEvent(target);
  refuseAddressed(target);
  return { pattern: target.path, contract: target };
}

// A contract with values for its parameters names the receiver of one message, not the messages to handle.
function refuseAddressed({ path, pattern }: AnyCommand | AnyEvent): void {
  if (pattern === undefined) return;
  const expected = "the contract itself, without .at()";
  throw invalidArgument(`What is registered for ${show(pattern)}`, expected, path);
}
