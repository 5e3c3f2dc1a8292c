/** Counts the messages that a service sends, by receiver, when they are sent. The number of receivers is limited. */

import { type CommandUse, type Counted, type EventUse, MOST_USES } from "../protocol/discovery/traffic.ts";

/** The parts of a contract that name its path; `undefined` if the message was sent without a contract. */
type Contract = { readonly path: string; readonly pattern?: string | undefined } | undefined;

/** Counts by service and path. All others beyond the limit share one count. */
class UseCounts {
  readonly #byService = new Map<string, Map<string | undefined, { count: number }>>();
  #size = 0;
  #others = 0;

  /** Counts one more message. The service of an event is empty. */
  add(service: string, contract: Contract): void {
    const path = contract === undefined ? undefined : (contract.pattern ?? contract.path);
    const known = this.#byService.get(service)?.get(path);
    if (known !== undefined) known.count += 1;
    else if (this.#size < MOST_USES) this.#begin(service, path);
    else this.#others += 1;
  }

  #begin(service: string, path: string | undefined): void {
    this.#size += 1;
    let paths = this.#byService.get(service);
    if (paths === undefined) {
      paths = new Map();
      this.#byService.set(service, paths);
    }
    paths.set(path, { count: 1 });
  }

  read(): readonly { readonly service: string; readonly path: string | undefined; readonly count: number }[] {
    return [...this.#byService].flatMap(([service, paths]) =>
      [...paths].map(([path, { count }]) => ({ service, path, count })),
    );
  }

  get others(): number {
    return this.#others;
  }
}

/** The counts of an instance's outgoing messages, as it reports them. */
export interface Uses {
  readonly calls: readonly Counted<CommandUse>[];
  readonly sends: readonly Counted<CommandUse>[];
  readonly publishes: readonly Counted<EventUse>[];
}

/** Counters of an instance's calls, one-way commands and events. */
export class UseRecorder {
  readonly calls: UseCounts = new UseCounts();
  readonly sends: UseCounts = new UseCounts();
  readonly publishes: UseCounts = new UseCounts();

  read(): Uses {
    return { calls: commands(this.calls), sends: commands(this.sends), publishes: events(this.publishes) };
  }
}

function commands(counts: UseCounts): readonly Counted<CommandUse>[] {
  const told = counts
    .read()
    .map(({ service, path, count }) => ({ service, ...(path === undefined ? {} : { path }), count }));
  return counts.others === 0 ? told : [...told, { count: counts.others }];
}

// Events that were published without a contract share the count of those beyond the limit.
function events(counts: UseCounts): readonly Counted<EventUse>[] {
  const all = counts.read();
  const told = all.flatMap(({ path, count }) => (path === undefined ? [] : [{ path, count }]));
  const unnamed = all.find(({ path }) => path === undefined)?.count ?? 0;
  const others = unnamed + counts.others;
  return others === 0 ? told : [...told, { count: others }];
}
