/** Commands and events that are registered to be handled, whether they came as names or as contracts. */

import { type AnyCommand, checkCommand } from "../contract/command.ts";
import { type AnyEvent, checkEvent } from "../contract/event.ts";
import { ConfluoError, invalidArgument, show } from "../errors.ts";
import { checkCommandPath, withSlash } from "../protocol/address.ts";

/** A pattern to handle, and the contract that it came from. */
export interface HandledTarget<Contract> {
  readonly pattern: string;
  readonly contract: Contract | undefined;
}

/** Reads the target of a route. @throws `INVALID_ARGUMENT` for what is no contract, or belongs to another service. */
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

/** Reads the target of a subscription. @throws `INVALID_ARGUMENT` for what is no contract. */
export function handledEvent(target: string | AnyEvent): HandledTarget<AnyEvent> {
  if (typeof target === "string") return { pattern: target, contract: undefined };
  checkEvent(target);
  refuseAddressed(target);
  return { pattern: target.path, contract: target };
}

// A contract with values for its parameters says where a message goes, not what is handled.
function refuseAddressed({ path, pattern }: AnyCommand | AnyEvent): void {
  if (pattern === undefined) return;
  const expected = "the contract itself, without .at()";
  throw invalidArgument(`What is registered for ${show(pattern)}`, expected, path);
}
