/** The services that a tool has seen before, in addition to those that answer now. A {@link NameStore} stores their names. */

import type { Broker, Overview, OverviewOptions, ServiceStats } from "../index.ts";
import { isServiceName } from "../protocol/address.ts";

/**
 * Largest number of names that are stored for a broker and namespace, and looked up at a time: `broker.overview` accepts no
 * more.
 */
export const MOST_NAMES = 1_000;

/** A change to the known names. */
export interface NameChange {
  readonly seen?: readonly string[];
  /** Names of services that no longer exist. */
  readonly gone?: readonly string[];
}

/** Storage for names that outlasts a process. Its methods never throw: a tool works even if names cannot be stored. */
export interface NameStore {
  /** True if the names seen now can be read next time, as far as is known. */
  readonly isKept: boolean;
  /** Returns the names, those seen last at the end. */
  read(): readonly string[];
  /** Applies a change to the present contents of the store, which other processes may have changed since it was read. */
  write(change: NameChange): void;
}

/** A service, with the parts of its statistics that show whether it has queues. */
export type FoundService = Pick<ServiceStats, "service" | "instances" | "queues" | "unknownQueues">;

/**
 * Applies a change to names. Names that were seen move to the end. The first names beyond {@link MOST_NAMES} are dropped, and
 * so are names that are not valid.
 */
export function changeNames(
  names: Iterable<unknown>,
  { seen = [], gone = [] }: NameChange,
): readonly string[] {
  const left = new Set([...names].filter(isServiceName));
  for (const name of [...gone, ...seen]) left.delete(name);
  for (const name of seen.filter(isServiceName)) left.add(name);
  return [...left].slice(-MOST_NAMES);
}

/**
 * The known services of one broker and namespace: known to this process and, with a store, also to other and later processes. A
 * name is known from the time its service's queues were found until they no longer exist. It stays known if the queues may not
 * be inspected.
 */
export class KnownServices {
  readonly #store: NameStore | undefined;
  #names: readonly string[];

  /** @param store stores the names; without it, only this object knows them. */
  constructor(store?: NameStore) {
    this.#store = store;
    this.#names = changeNames(store?.read() ?? [], {});
  }

  /** True if names outlast this process. */
  get isKept(): boolean {
    return this.#store?.isKept === true;
  }

  /**
   * Returns an overview of the given and the known services, and updates the known names. If a service was only known from
   * before and nothing of it exists any more, its name is forgotten and left out of the overview.
   *
   * @throws as `broker.overview`.
   */
  async look(broker: Pick<Broker, "overview">, options: OverviewOptions = {}): Promise<Overview> {
    const { services: given = [], ...limits } = options;
    const room = Math.max(0, MOST_NAMES - new Set(given).size);
    const known = this.#names.filter((name) => !given.includes(name)).toReversed();
    const services = [...new Set(given), ...known.slice(0, room)];
    const overview = await broker.overview({ services, ...limits });
    this.#change({ seen: lastingNames(overview.services), gone: overview.missing });
    const isMeant = new Set([...given, ...overview.services.flatMap(usedNames)]);
    const untold = new Set(overview.missing.filter((name) => !isMeant.has(name)));
    return {
      ...overview,
      missing: overview.missing.filter((name) => !untold.has(name)),
      lookedFor: overview.lookedFor.filter((name) => !untold.has(name)),
    };
  }

  /** Adds services that were found in another way, if they have queues. */
  learn(found: readonly FoundService[]): void {
    this.#change({ seen: lastingNames(found) });
  }

  /** Adds names of services whose queues were found. */
  learnNames(seen: readonly string[]): void {
    this.#change({ seen });
  }

  /** Removes a service whose queues no longer exist. */
  forget(service: string): void {
    this.#change({ gone: [service] });
  }

  #change(change: NameChange): void {
    this.#names = changeNames(this.#names, change);
    this.#store?.write(change);
  }
}

// A service without a queue that outlasts its instances, such as one that only calls, cannot be found later. If this user may
// not inspect the queues, a service counts as having some when an instance answers.
function lastingNames(found: readonly FoundService[]): readonly string[] {
  return found
    .filter(
      ({ instances, queues: { inbox, dead }, unknownQueues }) =>
        inbox !== undefined || dead !== undefined || (instances.length > 0 && unknownQueues !== undefined),
    )
    .map(({ service }) => service);
}

function usedNames({ calls, sends }: ServiceStats): readonly string[] {
  return [...calls, ...sends].flatMap(({ service }) => service ?? []);
}
