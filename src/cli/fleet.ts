/** What is shown of services: figures made of their statistics. Pure, so that what a terminal shows is tested without one. */

import {
  type HandlerStats,
  type InstanceInfo,
  mergeDurations,
  quantile,
  type ServiceStats,
} from "../index.ts";

/** Statistics at a moment. */
export interface Snapshot {
  readonly stats: readonly ServiceStats[];
  /** On the monotonic clock, in milliseconds. */
  readonly at: number;
}

/** A line of `ls`. */
export interface ServiceLine {
  readonly service: string;
  readonly instances: number;
  /** The worst of its instances'. */
  readonly health: "healthy" | "degraded" | "down";
  /** Runs a second: since the snapshot before, or since the instances began. */
  readonly perSecond: number;
  readonly inFlight: number;
  readonly p50Ms: number | undefined;
  readonly p99Ms: number | undefined;
  readonly refused: number;
  readonly failed: number;
  /** What waits in its queues, and its dead letters; `undefined` for those of a service that only calls. */
  readonly waiting: number | undefined;
  readonly dead: number | undefined;
  readonly lastError: HandlerStats["lastError"] | undefined;
}

/** A line of `show`: one route or subscription. */
export interface HandlerLine {
  readonly name: string;
  readonly kind: "route" | "subscription" | "instance subscription";
  readonly perSecond: number;
  readonly handled: number;
  readonly refused: number;
  readonly failed: number;
  readonly retried: number;
  readonly deadLettered: number;
  readonly inFlight: number;
  readonly p50Ms: number | undefined;
  readonly p95Ms: number | undefined;
  readonly p99Ms: number | undefined;
  readonly lastError: HandlerStats["lastError"] | undefined;
  readonly lastRefusal: HandlerStats["lastRefusal"] | undefined;
}

/** One line for each service. */
export function linesOf(now: Snapshot, before?: Snapshot): readonly ServiceLine[] {
  return now.stats.map((service) => {
    const { instances, queues } = service;
    const handlers = [...service.routes, ...service.subscriptions];
    const durations = mergeDurations(handlers.map((handler) => handler.durations));
    const errors = handlers.flatMap(({ lastError }) => lastError ?? []);
    const waiting = [queues.calls?.messages, queues.inbox?.messages].flatMap((messages) => messages ?? []);
    return {
      service: service.service,
      instances: instances.length,
      health: worst(instances.map(({ health }) => health.status)),
      perSecond: rate(service, now, before, (of) => [...of.routes, ...of.subscriptions]),
      inFlight: total(handlers, ({ inFlight }) => inFlight),
      p50Ms: quantile(durations, 0.5),
      p99Ms: quantile(durations, 0.99),
      refused: total(handlers, ({ refused }) => refused),
      failed: total(handlers, ({ failed }) => failed),
      waiting: waiting.length === 0 ? undefined : total(waiting, (messages) => messages),
      dead: queues.dead?.messages,
      lastError: errors.sort((a, b) => (a.at < b.at ? 1 : -1))[0],
    };
  });
}

/** One line for each route and subscription of a service. */
export function handlersOf(service: ServiceStats, now: Snapshot, before?: Snapshot): readonly HandlerLine[] {
  const line = (
    stats: HandlerStats,
    name: string,
    kind: HandlerLine["kind"],
    same: (of: ServiceStats) => readonly HandlerStats[],
  ): HandlerLine => {
    const { handled, refused, failed, retried, deadLettered, inFlight, durations } = stats;
    const { lastError, lastRefusal } = stats;
    const [p50Ms, p95Ms, p99Ms] = [0.5, 0.95, 0.99].map((share) => quantile(durations, share));
    const perSecond = rate(service, now, before, same);
    const counts = { handled, refused, failed, retried, deadLettered, inFlight };
    return { name, kind, perSecond, ...counts, p50Ms, p95Ms, p99Ms, lastError, lastRefusal };
  };
  return [
    ...service.routes.map((stats) =>
      line(stats, stats.path, "route", ({ routes }) => routes.filter(({ path }) => path === stats.path)),
    ),
    ...service.subscriptions.map((stats) =>
      line(
        stats,
        stats.pattern,
        stats.per === "instance" ? "instance subscription" : "subscription",
        ({ subscriptions }) =>
          subscriptions.filter(({ pattern, per }) => pattern === stats.pattern && per === stats.per),
      ),
    ),
  ];
}

/** What an instance is, in a few words for each column. */
export function instanceLine({
  instance,
  host,
  pid,
  version,
  uptimeMs,
  health,
  confluo,
  node,
}: InstanceInfo): {
  readonly [column: string]: string;
} {
  const troubles = [
    ...health.detached.map((name) => `no ${name}`),
    ...(health.blocked === undefined ? [] : ["blocked"]),
    ...(health.stalled === undefined ? [] : ["retries stand still"]),
  ];
  return {
    instance,
    host,
    pid: String(pid),
    version: version ?? "–",
    up: forHumans(uptimeMs),
    health: troubles.length === 0 ? health.status : `${health.status}: ${troubles.join(", ")}`,
    confluo,
    node,
  };
}

/** `87 ms`, `4.2 s`, `3 min`, `2 h 5 min`, `6 d 3 h`. */
export function forHumans(ms: number | undefined): string {
  if (ms === undefined) return "–";
  if (ms < 10) return `${Number(ms.toPrecision(2))} ms`;
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 10_000) return `${(ms / 1_000).toFixed(1)} s`;
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 1) return `${Math.round(ms / 1_000)} s`;
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** With at most two decimals, fewer the greater it is. */
export function rateForHumans(perSecond: number): string {
  if (perSecond === 0) return "0/s";
  if (perSecond < 0.01) return "<0.01/s";
  return `${perSecond < 10 ? Number(perSecond.toFixed(2)) : Math.round(perSecond).toLocaleString("en")}/s`;
}

// By instance: one that is new since counts from its beginning, one that is gone takes its counts along.
function rate(
  service: ServiceStats,
  now: Snapshot,
  before: Snapshot | undefined,
  handlers: (of: ServiceStats) => readonly HandlerStats[],
): number {
  const ended = (of: ServiceStats): number =>
    total(handlers(of), ({ handled, refused, failed }) => handled + refused + failed);
  const earlier = before?.stats.find((each) => each.service === service.service);
  const known = new Set(earlier?.instances.map(({ instance }) => instance));
  const isSame =
    service.instances.length === known.size && service.instances.every(({ instance }) => known.has(instance));
  if (before !== undefined && earlier !== undefined && isSame && now.at > before.at)
    return Math.max(0, ((ended(service) - ended(earlier)) / (now.at - before.at)) * 1_000);
  const longest = Math.max(1, ...service.instances.map(({ uptimeMs }) => uptimeMs));
  return (ended(service) / longest) * 1_000;
}

function worst(all: readonly ServiceLine["health"][]): ServiceLine["health"] {
  return (["down", "degraded"] as const).find((status) => all.includes(status)) ?? "healthy";
}

function total<Item>(all: readonly Item[], of: (item: Item) => number): number {
  return all.reduce((sum, item) => sum + of(item), 0);
}
