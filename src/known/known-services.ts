/** Which services a tool knows of besides those that answer: it saw them before. Where their names are kept is a {@link NameStore}'s job. */

import type { Broker, Overview, OverviewOptions, ServiceStats } from "../index.ts";
import { isServiceName } from "../protocol/address.ts";

/** As many names as are kept of a broker and namespace, and looked for at a time: `broker.overview` takes no more. */
export const MOST_NAMES = 1_000;

/** The changes that a look makes to the names that are known. */
export interface NameChange {
  readonly seen?: readonly string[];
  /** Names that there is nothing of any more. */
  readonly gone?: readonly string[];
}

/** A place where names outlast a process. It never throws: a tool looks all the same if its names cannot be kept. */
export interface NameStore {
  /** True if the names that are seen now will be known next time, as far as that can be told. */
  readonly isKept: boolean;
  /** Returns the names, those that were seen last at the end. */
  read(): readonly string[];
  /** Applies a change to what is in the store by now: others may have written there since it was read. */
  write(change: NameChange): void;
}

/** A service with what of it outlasts its instances. */
export type FoundService = Pick<ServiceStats, "service" | "instances" | "queues" | "unknownQueues">;

/**
 * Applies a change to names. Those that were seen are at the end, of more than {@link MOST_NAMES} the first ones are left out, and so
 * is what cannot be a service's name.
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
 * The services of one broker and namespace whose names are known, to this process and, with a store, to others and later ones. A name
 * is known when the queues of its service were found, and until they are gone; one whose queues may not be looked at stays.
 */
export class KnownServices {
  readonly #store: NameStore | undefined;
  #names: readonly string[];

  /** @param store where names are kept; without one this object alone knows them. */
  constructor(store?: NameStore) {
    this.#store = store;
    this.#names = changeNames(store?.read() ?? [], {});
  }

  /** Tells whether names outlast this process. */
  get isKept(): boolean {
    return this.#store?.isKept === true;
  }

  /**
   * Asks for an overview of the services that are given and those that are known, and learns from it. A service that was only known
   * here and that there is nothing of any more is forgotten, and the overview does not tell of it.
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

  /** Learns of services that were found in another way, as far as they have queues. */
  learn(found: readonly FoundService[]): void {
    this.#change({ seen: lastingNames(found) });
  }

  /** Learns names of services whose queues were found. */
  learnNames(seen: readonly string[]): void {
    this.#change({ seen });
  }

  /** Forgets a service whose queues are gone. */
  forget(service: string): void {
    this.#change({ gone: [service] });
  }

  #change(change: NameChange): void {
    this.#names = changeNames(this.#names, change);
    this.#store?.write(change);
  }
}

// A service that has no queue which outlasts its instances, such as a service that only calls, leaves nothing to look for. Whether one has, a
// user without the right to look does not learn; if it answers, it is there.
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
