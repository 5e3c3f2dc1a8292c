/** Which dead letters a command means. */

import type { Command } from "commander";
import { type Broker, ConfluoError, type DeadLetter, type DeadLetters } from "../index.ts";
import type { BrokerFlags } from "./context.ts";

/** Options that select letters. */
export interface SelectionFlags extends BrokerFlags {
  readonly all?: true;
  readonly error?: string;
  readonly path?: string;
}

/** The letters that nobody handles. A service may have that name, too: then it goes by the name of its queue. */
export const ORPHANS = "orphans";
export const DEAD = ".dead";
/** So many letters are looked at. */
export const LISTED = 20_000;

/** Adds the options of {@link SelectionFlags} but those of the broker. */
export function withSelection(command: Command): Command {
  return command
    .option("--all", "all of them")
    .option("--error <code>", "those with this error")
    .option("--path <path>", "those with this path");
}

/** The letters of a service or, by their name, the orphans. */
export function lettersOf(broker: Broker, service: string): DeadLetters {
  return service === ORPHANS ? broker.orphans() : broker.deadLetters(serviceIn(service));
}

/** Checks that there are letters of that name: of a name that is not right, there would be none either. */
export async function checkExists(
  broker: Broker,
  service: string,
  limits: { readonly signal: AbortSignal },
): Promise<void> {
  if (service === ORPHANS) return;
  if ((await broker.queue(`${broker.namespace}.${serviceIn(service)}${DEAD}`, limits)) !== undefined) return;
  throw new ConfluoError(
    "NO_SUCH_SERVICE",
    `There is no service ${service} that handles commands or events.`,
  );
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

function serviceIn(name: string): string {
  return name.endsWith(DEAD) ? name.slice(0, -DEAD.length) : name;
}
