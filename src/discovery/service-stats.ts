/** What the instances of a service have done together, and what waits at the broker for them. */

import { mergeDurations } from "../core/tally.ts";
import { isConfluoError } from "../errors.ts";
import type { HandlerStats, InstanceStats, LastError } from "../protocol/discovery.ts";
import type { Namespace } from "../protocol/topology.ts";
import type { QueueInfo, Wire } from "../transport/wire.ts";

/** A service, of those instances that answered. */
export interface ServiceStats {
  readonly service: string;
  readonly instances: readonly InstanceStats[];
  /** Of all instances together. */
  readonly routes: readonly (HandlerStats & { readonly path: string })[];
  readonly subscriptions: readonly (HandlerStats & {
    readonly pattern: string;
    readonly per: "service" | "instance";
  })[];
  /** What waits; `undefined` for a queue that does not exist, as with services that only call. */
  readonly queues: {
    readonly calls: QueueInfo | undefined;
    readonly inbox: QueueInfo | undefined;
    readonly dead: QueueInfo | undefined;
  };
  /**
   * Queues that the broker does not let this user look at: `undefined` in {@link ServiceStats.queues}, and perhaps there. Absent if
   * there are none.
   */
  readonly unknownQueues?: readonly ("calls" | "inbox" | "dead")[];
}

/** Sums up by service, in order of names, and asks the broker for the queues. */
export async function byService(
  wire: Wire,
  namespace: Namespace,
  answers: readonly InstanceStats[],
): Promise<readonly ServiceStats[]> {
  const groups = new Map<string, InstanceStats[]>();
  for (const answer of answers) {
    const group = groups.get(answer.service);
    if (group === undefined) groups.set(answer.service, [answer]);
    else group.push(answer);
  }
  return Promise.all(
    [...groups].map(async ([service, instances]) => {
      const unknown: ("calls" | "inbox" | "dead")[] = [];
      const inspect = async (which: "calls" | "inbox" | "dead"): Promise<QueueInfo | undefined> => {
        try {
          return await wire.inspectQueue(namespace[which](service));
        } catch (error) {
          if (!isConfluoError(error, "ACCESS_REFUSED")) throw error;
          unknown.push(which);
          return undefined;
        }
      };
      const [calls, inbox, dead] = await Promise.all([inspect("calls"), inspect("inbox"), inspect("dead")]);
      return {
        service,
        instances,
        routes: together(
          instances.flatMap(({ routes }) => routes),
          ({ path }) => path,
        ),
        subscriptions: together(
          instances.flatMap(({ subscriptions }) => subscriptions),
          ({ per, pattern }) => `${per} ${pattern}`,
        ),
        queues: { calls, inbox, dead },
        ...(unknown.length === 0 ? {} : { unknownQueues: unknown.sort() }),
      };
    }),
  );
}

function together<Stats extends HandlerStats>(
  all: readonly Stats[],
  keyOf: (stats: Stats) => string,
): readonly Stats[] {
  const merged = new Map<string, Stats>();
  for (const stats of all) {
    const key = keyOf(stats);
    const before = merged.get(key);
    merged.set(key, before === undefined ? stats : { ...stats, ...sum(before, stats) });
  }
  return [...merged.values()];
}

function sum(a: HandlerStats, b: HandlerStats): HandlerStats {
  const lastError = later(a.lastError, b.lastError);
  const lastRefusal = later(a.lastRefusal, b.lastRefusal);
  return {
    handled: a.handled + b.handled,
    refused: a.refused + b.refused,
    failed: a.failed + b.failed,
    retried: a.retried + b.retried,
    deadLettered: a.deadLettered + b.deadLettered,
    inFlight: a.inFlight + b.inFlight,
    durations: mergeDurations([a.durations, b.durations]),
    ...(lastError === undefined ? {} : { lastError }),
    ...(lastRefusal === undefined ? {} : { lastRefusal }),
  };
}

function later(a: LastError | undefined, b: LastError | undefined): LastError | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return a.at > b.at ? a : b;
}
