/** Which dead letters a command means. */

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

/** So many letters are looked at. */
export const LISTED = 20_000;

/** Adds the options of {@link SelectionFlags} but those of the broker. */
export function withSelection(command: Command): Command {
  return command
    .option("--all", "all letters")
    .option("--error <code>", "letters with this error")
    .option("--path <path>", "letters with this path");
}

/** The letters of a service or, by their name, the orphans. */
export function lettersOf(broker: Broker, service: string): DeadLetters {
  return service === ORPHANS ? broker.orphans() : broker.deadLetters(serviceIn(service));
}

/** The code of what failed, or why the broker gave it up. */
export function errorOf({ error, reason }: DeadLetter): string {
  return error?.code ?? reason ?? "unknown";
}

/** Says that there are more letters than can be looked at. */
export function onlyTheFirst(service: string, count: number): string {
  return `${service} has ${count.toLocaleString("en")} letters; only the first ${LISTED.toLocaleString("en")} are looked at.`;
}

/** @throws `INVALID_ARGUMENT` if nothing is selected, or too much. */
export function chooserOf(
  ids: readonly string[],
  { all, error, path }: SelectionFlags,
): (letter: DeadLetter) => boolean {
  const isNarrowed = ids.length > 0 || error !== undefined || path !== undefined;
  if (all && isNarrowed)
    throw new ConfluoError("INVALID_ARGUMENT", "--all and a selection contradict each other.");
  if (!all && !isNarrowed)
    throw new ConfluoError("INVALID_ARGUMENT", "Which letters? Name ids, or say --error, --path or --all.");
  const wanted = new Set(ids);
  return (letter) =>
    (ids.length === 0 || wanted.has(letter.id)) &&
    (error === undefined || errorOf(letter) === error) &&
    (path === undefined || letter.path === path);
}
