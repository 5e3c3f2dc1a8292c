/** Formats statistics in Prometheus' text format (https://prometheus.io/docs/instrumenting/exposition_formats/). */

import type { HandlerStats, InstanceStats, Service } from "../index.ts";

export const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** Bounds of the duration histogram, in seconds: those that OpenTelemetry recommends for messaging. */
const BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10] as const;

type Labels = Readonly<Record<string, string>>;

interface Sample {
  readonly labels: Labels;
  readonly value: number;
  /** A suffix of the metric's name: `_bucket`, `_sum`. */
  readonly suffix?: string;
}

/** Returns all metrics of some services. */
export function metricsOf(services: readonly Service[]): string {
  const all = services.map((service) => ({ stats: service.stats(), status: service.health().status }));
  const handlers = all.flatMap(({ stats }) => handlersOf(stats));
  const counter = (name: string, help: string, of: (stats: HandlerStats) => number): string =>
    metric(
      name,
      "counter",
      help,
      handlers.map(({ labels, stats }) => ({ labels, value: of(stats) })),
    );
  const gauge = (name: string, help: string, of: (each: (typeof all)[number]) => number): string =>
    metric(
      name,
      "gauge",
      help,
      all.map((each) => ({ labels: { service: each.stats.service }, value: of(each) })),
    );
  const total = (name: string, help: string, of: (stats: InstanceStats) => number): string =>
    metric(
      name,
      "counter",
      help,
      all.map(({ stats }) => ({ labels: { service: stats.service }, value: of(stats) })),
    );
  return [
    counter("confluo_handled_total", "Runs of a handler that succeeded.", ({ handled }) => handled),
    counter(
      "confluo_refused_total",
      "Calls answered with a status from 400 to 499, which is the caller's mistake.",
      ({ refused }) => refused,
    ),
    counter("confluo_failed_total", "Runs of a handler that failed.", ({ failed }) => failed),
    counter("confluo_retried_total", "Messages that are retried.", ({ retried }) => retried),
    metric("confluo_dead_lettered_total", "counter", "Messages that were given up.", [
      ...handlers.map(({ labels, stats }) => ({ labels, value: stats.deadLettered })),
      ...all.flatMap(({ stats }) => strayLetters(stats)),
    ]),
    total(
      "confluo_unmatched_total",
      "Messages received without a route or subscription here.",
      ({ unmatched }) => unmatched.received,
    ),
    total(
      "confluo_malformed_total",
      "Messages received that cannot be read.",
      ({ malformed }) => malformed.received,
    ),
    metric(
      "confluo_in_flight",
      "gauge",
      "Handlers that are running.",
      handlers.map(({ labels, stats }) => ({ labels, value: stats.inFlight })),
    ),
    metric(
      "confluo_handler_duration_seconds",
      "histogram",
      "Duration of handler runs, rounded up by at most an eighth.",
      handlers.flatMap(({ labels, stats }) => histogramOf(labels, stats)),
    ),
    gauge("confluo_up", "1 if the service is connected, else 0.", ({ status }) =>
      status === "down" ? 0 : 1,
    ),
    gauge("confluo_healthy", "1 if the service is healthy, else 0.", ({ status }) =>
      status === "healthy" ? 1 : 0,
    ),
    gauge("confluo_calling", "Calls that wait for their answer.", ({ stats }) => stats.calling),
    gauge(
      "confluo_unconfirmed",
      "Messages that the broker has not confirmed.",
      ({ stats }) => stats.unconfirmed,
    ),
    total("confluo_reconnects_total", "Connections that were lost.", ({ reconnects }) => reconnects),
  ].join("");
}

function handlersOf({
  service,
  routes,
  subscriptions,
}: InstanceStats): readonly { readonly labels: Labels; readonly stats: HandlerStats }[] {
  return [
    ...routes.map((stats) => ({ labels: { service, kind: "route", path: stats.path }, stats })),
    ...subscriptions.map((stats) => ({
      labels: {
        service,
        kind: stats.per === "instance" ? "instance subscription" : "subscription",
        path: stats.pattern,
      },
      stats,
    })),
  ];
}

// Dead letters of messages without a handler. The sample exists even at 0, because Prometheus does not see the first increase
// of a new one.
function strayLetters({ service, unmatched, malformed }: InstanceStats): readonly Sample[] {
  return Object.entries({ unmatched, malformed }).map(([kind, { deadLettered }]) => ({
    labels: { service, kind, path: "" },
    value: deadLettered,
  }));
}

function histogramOf(labels: Labels, { durations }: HandlerStats): readonly Sample[] {
  const within = (bound: number): number =>
    durations.reduce((sum, [upToMs, count]) => (upToMs <= bound * 1_000 ? sum + count : sum), 0);
  const bounds = [...BOUNDS, Number.POSITIVE_INFINITY];
  const seconds = durations.reduce((sum, [upToMs, count]) => sum + (upToMs / 1_000) * count, 0);
  return [
    ...bounds.map((bound) => ({
      suffix: "_bucket",
      labels: { ...labels, le: bound === Number.POSITIVE_INFINITY ? "+Inf" : String(bound) },
      value: within(bound),
    })),
    { suffix: "_sum", labels, value: seconds },
    { suffix: "_count", labels, value: within(Number.POSITIVE_INFINITY) },
  ];
}

function metric(
  name: string,
  type: "counter" | "gauge" | "histogram",
  help: string,
  samples: readonly Sample[],
): string {
  if (samples.length === 0) return "";
  const lines = samples.map(
    ({ suffix = "", labels, value }) => `${name}${suffix}{${written(labels)}} ${value}\n`,
  );
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join("")}`;
}

function written(labels: Labels): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}="${value.replace(/[\\"\n]/g, (c) => (c === "\n" ? "\\n" : `\\${c}`))}"`)
    .join(",");
}
