/** Whose letters there are: services by name, and what nobody handles. */

import { type Broker, ConfluoError, type OverviewOptions } from "../../index.ts";
import type { KnownServices } from "../../known/known-services.ts";

/** The letters that nobody handles. A service may have that name, too: then it goes by the name of its queue. */
export const ORPHANS = "orphans";
export const DEAD = ".dead";

/** The service that a name on the command line means. */
export function serviceIn(name: string): string {
  return name.endsWith(DEAD) ? name.slice(0, -DEAD.length) : name;
}

/** Returns the names of services among what letters are of. */
export function namesOf(owners: readonly string[]): readonly string[] {
  return owners.filter((owner) => owner !== ORPHANS).map(serviceIn);
}

/** Returns those that are known. One that is down, that was not seen before, and that nobody who answers has to do with, has to be named. */
export async function servicesWithLetters(
  broker: Broker,
  known: KnownServices,
  options: OverviewOptions,
): Promise<FoundLetters> {
  const there = await known.look(broker, options);
  const names = there.services
    .filter(({ queues, unknownQueues }) => queues.dead !== undefined || unknownQueues?.includes("dead"))
    .map(({ service }) => service);
  return {
    services: [...names.map((name) => (name === ORPHANS ? `${name}${DEAD}` : name)), ORPHANS],
    unknown: [],
  };
}

/** Names of services, and those of which there is none. */
export interface FoundLetters {
  readonly services: readonly string[];
  readonly unknown: readonly string[];
}

/** Tells names that there is something of from others. */
export async function existing(
  broker: Broker,
  names: readonly string[],
  limits: { readonly signal: AbortSignal },
): Promise<FoundLetters> {
  const found: { services: string[]; unknown: string[] } = { services: [], unknown: [] };
  for (const name of new Set(names))
    ((await exists(broker, name, limits)) ? found.services : found.unknown).push(name);
  return found;
}

async function exists(
  broker: Broker,
  service: string,
  limits: { readonly signal: AbortSignal },
): Promise<boolean> {
  if (service === ORPHANS) return true;
  return (await broker.queue(`${broker.namespace}.${serviceIn(service)}${DEAD}`, limits)) !== undefined;
}

/** Of a name that is not right, there would be no letters either. @throws `NO_SUCH_SERVICE`. */
export async function checkExists(
  broker: Broker,
  service: string,
  limits: { readonly signal: AbortSignal },
): Promise<void> {
  if (!(await exists(broker, service, limits))) throw noSuchService(service);
}

export function noSuchService(name: string): ConfluoError {
  return new ConfluoError("NO_SUCH_SERVICE", `There is no service ${name} that handles commands or events.`);
}
