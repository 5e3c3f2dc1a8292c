/** Statistics of all instances of a service together, and what waits at the broker for them. */

import { mapConcurrently } from "../async/concurrently.ts";
import { type ConfluoError, isConfluoError } from "../errors.ts";
import type { HandlerStats, InstanceStats, LastError } from "../protocol/discovery/instance-answer.ts";
import type {
  CommandUse,
  Counted,
  EventUse,
  RecentRuns,
  SenderStats,
} from "../protocol/discovery/traffic.ts";
import type { Namespace } from "../protocol/topology.ts";
import { mergeDurations } from "../statistics/durations.ts";
import type { AmqpClient, QueueInfo } from "../transport/amqp-client.ts";

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
  /** Of all instances together; see {@link InstanceStats}. */
  readonly calls: readonly Counted<CommandUse>[];
  readonly sends: readonly Counted<CommandUse>[];
  readonly publishes: readonly Counted<EventUse>[];
  readonly unclaimed: number;
  /**
   * The messages in its queues: `.again` is what an instance had that is gone, tried again alone; each message of `calls.batch` holds
   * several calls. `undefined` for a queue that does not exist, as with services that only call.
   */
  readonly queues: Readonly<Record<QueueOfService, QueueInfo | undefined>>;
  /**
   * Queues that the broker does not tell of, since this user may not look at them or their node is down: `undefined` in
   * {@link ServiceStats.queues}, and perhaps there. Absent if there are none.
   */
  readonly unknownQueues?: readonly QueueOfService[];
}

/** A queue of a service, by the last part of its name. */
export type QueueOfService = "calls" | "calls.again" | "calls.batch" | "inbox" | "inbox.again" | "dead";

/** A service for which nobody answers. */
export function silentService(service: string, seen: QueuesSeen): ServiceStats {
  const nothing = { routes: [], subscriptions: [], calls: [], sends: [], publishes: [], unclaimed: 0 };
  return { service, instances: [], ...nothing, ...seen };
}

/**
 * Asks the broker for a queue. Calls `onUnknown` and returns `undefined`, as if there were none, for a queue that the broker does
 * not tell of: see {@link isUntold}.
 */
export async function inspectIfTold(
  client: AmqpClient,
  name: string,
  onUnknown: () => void,
): Promise<QueueInfo | undefined> {
  try {
    return await client.inspectQueue(name);
  } catch (error) {
    if (!isUntold(error)) throw error;
    onUnknown();
    return undefined;
  }
}

/** Returns whether the broker answered, but not about this queue: the user may not look at it, or the node that holds it is down. */
export function isUntold(error: unknown): error is ConfluoError {
  return (
    isConfluoError(error, "ACCESS_REFUSED") ||
    (isConfluoError(error, "UNAVAILABLE") && error.data === undefined)
  );
}

/** The queues of a service, as far as the broker tells of them. */
export type QueuesSeen = Pick<ServiceStats, "queues" | "unknownQueues">;

/** Asks the broker for the queues of a service. */
export async function queuesOf(
  client: AmqpClient,
  namespace: Namespace,
  service: string,
): Promise<QueuesSeen> {
  const unknown: QueueOfService[] = [];
  const inspect = (which: QueueOfService, name: string): Promise<QueueInfo | undefined> =>
    inspectIfTold(client, name, () => unknown.push(which));
  const [callsName, inboxName] = [namespace.calls(service), namespace.inbox(service)];
  const [inbox, dead] = await Promise.all([
    inspect("inbox", inboxName),
    inspect("dead", namespace.dead(service)),
  ]);
  const mayBe = (which: QueueOfService, queue: QueueInfo | undefined): boolean =>
    queue !== undefined || unknown.includes(which);
  // A look for a queue that does not exist costs a channel, and a line of the broker's log.
  const isInbox = mayBe("inbox", inbox);
  const [calls, inboxAgain] = await Promise.all([
    isInbox ? inspect("calls", callsName) : undefined,
    isInbox ? inspect("inbox.again", namespace.again(inboxName)) : undefined,
  ]);
  const isCalls = mayBe("calls", calls);
  const [callsAgain, batches] = await Promise.all([
    isCalls ? inspect("calls.again", namespace.again(callsName)) : undefined,
    isCalls ? inspect("calls.batch", namespace.batches(service)) : undefined,
  ]);
  const queues = {
    calls,
    "calls.again": callsAgain,
    "calls.batch": batches,
    inbox,
    "inbox.again": inboxAgain,
    dead,
  };
  return unknown.length === 0 ? { queues } : { queues, unknownQueues: unknown.sort() };
}

/** Sums up by service, in order of names, and asks the broker for the queues. */
export async function byService(
  client: AmqpClient,
  namespace: Namespace,
  answers: readonly InstanceStats[],
): Promise<readonly ServiceStats[]> {
  const groups = new Map<string, InstanceStats[]>();
  for (const answer of answers) {
    const group = groups.get(answer.service);
    if (group === undefined) groups.set(answer.service, [answer]);
    else group.push(answer);
  }
  return mapConcurrently([...groups], async ([service, instances]) => ({
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
    calls: counted(instances.flatMap(({ calls }) => calls)),
    sends: counted(instances.flatMap(({ sends }) => sends)),
    publishes: counted(instances.flatMap(({ publishes }) => publishes)),
    unclaimed: instances.reduce((sum, { unclaimed }) => sum + unclaimed, 0),
    ...(await queuesOf(client, namespace, service)),
  }));
}

// By what each names, in the order in which they came.
function counted<Use extends CommandUse | EventUse>(all: readonly Counted<Use>[]): readonly Counted<Use>[] {
  const merged = new Map<string, Counted<Use>>();
  for (const use of all) {
    const { count, ...names } = use;
    const key = JSON.stringify(names);
    merged.set(key, { ...use, count: count + (merged.get(key)?.count ?? 0) });
  }
  return [...merged.values()];
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
    waiting: a.waiting + b.waiting,
    durations: mergeDurations([a.durations, b.durations]),
    recent: recently(a.recent, b.recent),
    senders: senders([...a.senders, ...b.senders]),
    ...(lastError === undefined ? {} : { lastError }),
    ...(lastRefusal === undefined ? {} : { lastRefusal }),
  };
}

// Rates add up: so that runs by time is their sum, the time is what all of them would take at that rate.
function recently(a: RecentRuns, b: RecentRuns): RecentRuns {
  const runs = ({ handled, refused, failed }: RecentRuns): number => handled + refused + failed;
  const rate = (of: RecentRuns): number => (of.ms === 0 ? 0 : runs(of) / of.ms);
  const perMs = rate(a) + rate(b);
  return {
    ms: perMs === 0 ? Math.max(a.ms, b.ms) : Math.round((runs(a) + runs(b)) / perMs),
    handled: a.handled + b.handled,
    refused: a.refused + b.refused,
    failed: a.failed + b.failed,
    durations: mergeDurations([a.durations, b.durations]),
  };
}

function senders(all: readonly SenderStats[]): readonly SenderStats[] {
  const merged = new Map<string | undefined, SenderStats>();
  for (const sender of all) {
    const { handled, refused, failed } = merged.get(sender.service) ?? { handled: 0, refused: 0, failed: 0 };
    merged.set(sender.service, {
      ...sender,
      handled: handled + sender.handled,
      refused: refused + sender.refused,
      failed: failed + sender.failed,
    });
  }
  return [...merged.values()];
}

function later(a: LastError | undefined, b: LastError | undefined): LastError | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return a.at > b.at ? a : b;
}
