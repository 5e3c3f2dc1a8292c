/** Makes lines for tables of services from their statistics. The functions are pure, so that tests need no terminal. */

import {
  type DelayedMessages,
  type HandlerStats,
  type InstanceInfo,
  mergeDurations,
  type Overview,
  quantile,
  type RecentRuns,
  type ServiceStats,
} from "../../index.ts";

/** The period of rates and percentiles; docs/protocol.md defines it for `recent`. */
export const OVER = "of the last 5 to 10 s";

/**
 * A line of `ls`. Figures that only instances report are `undefined` if no instance answers; figures of a queue that does not
 * exist are `undefined`, too, as with services that only call.
 */
export interface ServiceLine {
  readonly service: string;
  readonly instances: number;
  /**
   * The worst health of the instances. Without instances: `silent` if its queues have consumers, `down` if they have none,
   * `unknown` if they may not be inspected, `missing` if there are no queues.
   */
  readonly health: "healthy" | "degraded" | "silent" | "down" | "unknown" | "missing";
  /** Rate of the runs that ended in the last seconds; the percentiles are of the same runs. */
  readonly perSecond: number | undefined;
  readonly inFlight: number | undefined;
  readonly p50Ms: number | undefined;
  readonly p99Ms: number | undefined;
  readonly refused: number | undefined;
  readonly failed: number | undefined;
  /** Number of messages in its queues, without dead letters. */
  readonly waiting: number | undefined;
  /** Number of messages that its instances put into delay queues: for a retry, or because there was no handler. */
  readonly toRetry: number | undefined;
  /** Delayed messages that will return to its inbox, as far as their senders answer; absent if there are none. */
  readonly delayed?: Omit<DelayedMessages, "service">;
  readonly dead: number | undefined;
  /** Queues that the broker gives no information about. Absent if there are none. */
  readonly unknownQueues?: ServiceStats["unknownQueues"];
  readonly lastError: HandlerStats["lastError"] | undefined;
}

/** A line of `show`: one route or subscription. */
export interface HandlerLine {
  readonly name: string;
  readonly kind: "route" | "subscription" | "instance subscription";
  readonly perSecond: number | undefined;
  readonly handled: number;
  readonly refused: number;
  readonly failed: number;
  readonly retried: number;
  readonly deadLettered: number;
  readonly inFlight: number;
  /** Number of messages that wait for a retry. */
  readonly toRetry: number;
  readonly p50Ms: number | undefined;
  readonly p95Ms: number | undefined;
  readonly p99Ms: number | undefined;
  readonly senders: HandlerStats["senders"];
  readonly lastError: HandlerStats["lastError"] | undefined;
  readonly lastRefusal: HandlerStats["lastRefusal"] | undefined;
}

/** Returns one line for each service, including those without queues and instances. */
export function linesOf({
  services,
  missing,
  delayed,
}: Pick<Overview, "services" | "missing" | "delayed">): readonly ServiceLine[] {
  const waits = new Map(delayed.map(({ service, messages, until }) => [service, { messages, until }]));
  return [...services.map(lineOf), ...missing.map(missingLine)]
    .map((line) => {
      const own = waits.get(line.service);
      return own === undefined ? line : { ...line, delayed: own };
    })
    .sort((a, b) => (a.service < b.service ? -1 : 1));
}

function lineOf(stats: ServiceStats): ServiceLine {
  const { service, instances, queues } = stats;
  const handlers = [...stats.routes, ...stats.subscriptions];
  const durations = mergeDurations(handlers.map(({ recent }) => recent.durations));
  const errors = handlers.flatMap(({ lastError }) => lastError ?? []);
  const told = <Value>(value: Value): Value | undefined => (instances.length === 0 ? undefined : value);
  return {
    service,
    instances: instances.length,
    health:
      instances.length > 0 ? worst(instances.map(({ health }) => health.status)) : healthOfQueues(stats),
    perSecond: told(handlers.reduce((sum, { recent }) => sum + (rateOf(recent) ?? 0), 0)),
    inFlight: told(total(handlers, ({ inFlight }) => inFlight)),
    p50Ms: quantile(durations, 0.5),
    p99Ms: quantile(durations, 0.99),
    refused: told(total(handlers, ({ refused }) => refused)),
    failed: told(total(handlers, ({ failed }) => failed)),
    waiting: waitingIn(queues),
    toRetry: told(toRetry(stats)),
    dead: queues.dead?.messages,
    ...(stats.unknownQueues === undefined ? {} : { unknownQueues: stats.unknownQueues }),
    lastError: errors.sort((a, b) => (a.at < b.at ? 1 : -1))[0],
  };
}

function missingLine(service: string): ServiceLine {
  const nothing = { perSecond: undefined, inFlight: undefined, p50Ms: undefined, p99Ms: undefined };
  const unknown = { refused: undefined, failed: undefined, waiting: undefined, toRetry: undefined };
  const health = "missing";
  return { service, instances: 0, health, ...nothing, ...unknown, dead: undefined, lastError: undefined };
}

/** Returns the health of a service whose instances do not answer, judged by its queues. */
export function healthOfQueues({
  queues,
  unknownQueues = [],
}: Pick<ServiceStats, "queues" | "unknownQueues">): "silent" | "down" | "unknown" {
  if ([queues.calls, queues.inbox].some((queue) => (queue?.consumers ?? 0) > 0)) return "silent";
  return unknownQueues.includes("inbox") || unknownQueues.includes("calls") ? "unknown" : "down";
}

/** Returns the number of messages in the queues of a service, without dead letters; `undefined` if it has no queues. */
export function waitingIn({ dead: _, ...queues }: ServiceStats["queues"]): number | undefined {
  const there = Object.values(queues).filter((queue) => queue !== undefined);
  return there.length === 0 ? undefined : total(there, ({ messages }) => messages);
}

/** Returns the number of messages that the instances of a service put into delay queues and that have not returned yet. */
export function toRetry({ routes, subscriptions, unclaimed }: ServiceStats): number {
  return unclaimed + total([...routes, ...subscriptions], ({ waiting }) => waiting);
}

/** The part of an overview about messages in delay queues. */
type Waiting = Pick<Overview, "services" | "delays" | "delayed">;

/** Largest number of delay levels that one instance checks, each with one small message at a time. */
const LEVELS_WATCHED = 9;

/**
 * Returns the number of messages in the delay queues of a namespace: those that answering instances report as theirs, and the
 * others. Up to nine others for each answering instance are ignored: they may be test messages of the instances.
 */
export function delayedIn({ services, delays, delayed }: Waiting): {
  readonly known: number;
  readonly others: number;
} {
  const known = total(services, toRetry) + total(delayed, ({ messages }) => messages);
  const others = total(delays, ({ messages }) => messages) - known;
  const instances = total(services, (service) => service.instances.length);
  return { known, others: others > LEVELS_WATCHED * instances ? others : 0 };
}

/** Describes the messages in delay queues for `ls`; `undefined` if there are none. */
export function delayedForHumans(overview: Waiting): string | undefined {
  const { known, others } = delayedIn(overview);
  if (known + others === 0) return undefined;
  const count = (known + others).toLocaleString("en");
  const whose =
    others === 0 ? "" : `, ${others.toLocaleString("en")} of them from instances that do not answer`;
  return `${count} wait in delay queues, for another try, for an instance that handles them or until they are due${whose}.`;
}

/** Formats delayed messages: how many there are, and how long it takes until the last of them is due. */
export function untilForHumans(
  delayed: Omit<DelayedMessages, "service"> | undefined,
  now: number = Date.now(),
): string {
  if (delayed === undefined) return "–";
  return `${delayed.messages.toLocaleString("en")}, ${forHumans(Math.max(0, Date.parse(delayed.until) - now))}`;
}

/** Returns one line for each route and subscription of a service. */
export function handlersOf({ routes, subscriptions }: ServiceStats): readonly HandlerLine[] {
  return [
    ...routes.map((stats) => handlerLine(stats, stats.path, "route")),
    ...subscriptions.map((stats) =>
      handlerLine(stats, stats.pattern, stats.per === "instance" ? "instance subscription" : "subscription"),
    ),
  ];
}

function handlerLine(stats: HandlerStats, name: string, kind: HandlerLine["kind"]): HandlerLine {
  const { handled, refused, failed, retried, deadLettered, inFlight, waiting, recent, senders } = stats;
  const { lastError, lastRefusal } = stats;
  const [p50Ms, p95Ms, p99Ms] = [0.5, 0.95, 0.99].map((share) => quantile(recent.durations, share));
  const counts = { handled, refused, failed, retried, deadLettered, inFlight, toRetry: waiting };
  return {
    name,
    kind,
    perSecond: rateOf(recent),
    ...counts,
    p50Ms,
    p95Ms,
    p99Ms,
    senders,
    lastError,
    lastRefusal,
  };
}

// Instances of other versions do not report this.
function rateOf({ ms, handled, refused, failed }: RecentRuns): number | undefined {
  return ms === 0 ? undefined : ((handled + refused + failed) / ms) * 1_000;
}

/** Returns an instance as a short text for each column. */
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
    ...(health.stalled === undefined ? [] : ["retries are stuck"]),
    ...(health.reason === undefined ? [] : [health.reason.message.replace(/\.$/, "")]),
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

/** Formats a duration: `87 ms`, `4.2 s`, `3 min`, `2 h 5 min`, `6 d 3 h`. */
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

/** Formats a rate with at most two decimals, fewer for larger values. */
export function rateForHumans(perSecond: number | undefined): string {
  if (perSecond === undefined) return "–";
  if (perSecond === 0) return "0/s";
  if (perSecond < 0.01) return "<0.01/s";
  return `${perSecond < 10 ? Number(perSecond.toFixed(2)) : Math.round(perSecond).toLocaleString("en")}/s`;
}

function worst(all: readonly ("healthy" | "degraded" | "down")[]): "healthy" | "degraded" | "down" {
  return (["down", "degraded"] as const).find((status) => all.includes(status)) ?? "healthy";
}

function total<Item>(all: readonly Item[], of: (item: Item) => number): number {
  return all.reduce((sum, item) => sum + of(item), 0);
}
