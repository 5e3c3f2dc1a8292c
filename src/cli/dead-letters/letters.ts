/** Selects the dead letters that a command applies to. */

import type { Command } from "commander";
import { type Broker, ConfluoError, type DeadLetter, type DeadLetters } from "../../index.ts";
import type { BrokerFlags } from "../broker-flags.ts";
import { ORPHANS, serviceIn } from "./letter-owners.ts";

/** Options that select letters. */
export interface SelectionFlags extends BrokerFlags {
  readonly all?: true;
  readonly error?: string;
  readonly path?: string;
}

/** Largest number of letters that are looked at. */
export const LISTED = 20_000;

/** Adds the options of {@link SelectionFlags} except those of the broker. */
export function withSelection(command: Command): Command {
  return command
    .option("--all", "all letters")
    .option("--error <code>", "letters with this error")
    .option("--path <path>", "letters with this path");
}

/** Returns the letters of a service or, for the name `orphans`, the orphans. */
export function lettersOf(broker: Broker, service: string): DeadLetters {
  return service === ORPHANS ? broker.orphans() : broker.deadLetters(serviceIn(service));
}

/** Returns the code of the error, or the broker's reason. */
export function errorOf({ error, reason }: DeadLetter): string {
  return error?.code ?? reason ?? "unknown";
}

/** Returns a notice that not all letters are looked at. */
export function onlyTheFirst(service: string, count: number): string {
  return `${service} has ${count.toLocaleString("en")} letters; only the first ${LISTED.toLocaleString("en")} are read.`;
}

/** @throws `INVALID_ARGUMENT` if no letters are selected, or `--all` is combined with another selection. */
export function chooserOf(
  ids: readonly string[],
  { all, error, path }: SelectionFlags,
): (letter: DeadLetter) => boolean {
  const isNarrowed = ids.length > 0 || error !== undefined || path !== undefined;
  if (all && isNarrowed)
    throw new ConfluoError("INVALID_ARGUMENT", "--all cannot be combined with ids, --error or --path.");
  if (!all && !isNarrowed)
    throw new ConfluoError("INVALID_ARGUMENT", "Which letters? Give ids, or use --error, --path or --all.");
  const wanted = new Set(ids);
  return (letter) =>
    (ids.length === 0 || wanted.has(letter.id)) &&
    (error === undefined || errorOf(letter) === error) &&
    (path === undefined || letter.path === path);
}
