/** Sums up the statistics of all instances of a service, and adds the lengths of its queues. */

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

/** The statistics of a service, from the instances that answered. */
export interface ServiceStats {
  readonly service: string;
  readonly instances: readonly InstanceStats[];
  /** Sums of all instances. */
  readonly routes: readonly (HandlerStats & { readonly path: string })[];
  readonly subscriptions: readonly (HandlerStats & {
    readonly pattern: string;
    readonly per: "service" | "instance";
  })[];
  /** Sums of all instances; see {@link InstanceStats}. */
  readonly calls: readonly Counted<CommandUse>[];
  readonly sends: readonly Counted<CommandUse>[];
  readonly publishes: readonly Counted<EventUse>[];
  readonly unclaimed: number;
  /**
   * The service's queues with their numbers of messages. `.again` holds messages that a lost instance had, to be handled alone;
   * each message of `calls.batch` holds several calls. `undefined` for a queue that does not exist, as with services that only
   * call.
   */
  readonly queues: Readonly<Record<QueueOfService, QueueInfo | undefined>>;
  /**
   * Queues that could not be inspected, because this user lacks the right or their node is down. They are `undefined` in
   * {@link ServiceStats.queues} although they may exist. Absent if there are none.
   */
  readonly unknownQueues?: readonly QueueOfService[];
}

/** A queue of a service, by the last part of its name. */
export type QueueOfService = "calls" | "calls.again" | "calls.batch" | "inbox" | "inbox.again" | "dead";

/** Returns the statistics of a service whose instances do not answer. */
export function silentService(service: string, seen: QueuesSeen): ServiceStats {
  const nothing = { routes: [], subscriptions: [], calls: [], sends: [], publishes: [], unclaimed: 0 };
  return { service, instances: [], ...nothing, ...seen };
}

/**
 * Inspects a queue. If the broker gives no information about it (see {@link isUntold}), calls `onUnknown` and returns
 * `undefined`, as for a queue that does not exist.
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

/**
 * Returns whether an error means that the broker works but gives no information about this queue: the user may not inspect it,
 * or the node that holds it is down.
 */
export function isUntold(error: unknown): error is ConfluoError {
  return (
    isConfluoError(error, "ACCESS_REFUSED") ||
    (isConfluoError(error, "UNAVAILABLE") && error.data === undefined)
  );
}

/** The queues of a service, as far as the broker gives information about them. */
export type QueuesSeen = Pick<ServiceStats, "queues" | "unknownQueues">;

/** Inspects the queues of a service. */
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
  // Inspecting a queue that does not exist closes a channel and adds a line to the broker's log. So these are inspected only if
  // the inbox exists.
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

/**
 * Sums up the instances by service, in the order of the answers, which are sorted by name, and inspects the queues of each
 * service.
 */
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

// Sums up counts with the same names, in the order of their first occurrence.
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

// Rates are added. So `ms` becomes the time in which all instances together would make these runs at the sum of their rates.
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
