/** The owners of dead letters: services by name, and the orphans. */

import { type Broker, ConfluoError, type OverviewOptions } from "../../index.ts";
import type { KnownServices } from "../../known/known-services.ts";

/** The name of the orphans on the command line. A service may have the same name; it is then named with the suffix `.dead`. */
export const ORPHANS = "orphans";
export const DEAD = ".dead";

/** Returns the service that a name on the command line stands for. */
export function serviceIn(name: string): string {
  return name.endsWith(DEAD) ? name.slice(0, -DEAD.length) : name;
}

/** Returns the names of the services among owners of letters. */
export function namesOf(owners: readonly string[]): readonly string[] {
  return owners.filter((owner) => owner !== ORPHANS).map(serviceIn);
}

/**
 * Returns the known services with dead letters. A service that is down must be named if it was not seen before and no running
 * service uses it.
 */
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
    isBlind: there.services.length === 0,
  };
}

/** The names of services that have letters, and names for which no queue exists. */
export interface FoundLetters {
  readonly services: readonly string[];
  readonly unknown: readonly string[];
  /** True if no service is known, so that only the orphans can be looked at. */
  readonly isBlind: boolean;
}

/** Separates names with a queue of dead letters from those without. */
export async function existing(
  broker: Broker,
  names: readonly string[],
  limits: { readonly signal: AbortSignal },
): Promise<FoundLetters> {
  const found = { services: [] as string[], unknown: [] as string[], isBlind: false };
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

/**
 * Checks that a queue of dead letters exists. Otherwise a misspelt name would look like a service without letters.
 *
 * @throws `NO_SUCH_SERVICE`.
 */
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
