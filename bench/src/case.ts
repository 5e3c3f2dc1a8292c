/** What is measured: who sends what to whom, and how fast. */

/** What a handler does before it answers. */
export type Work = "nothing" | { readonly cpuMs: number } | { readonly waitMs: number };

/** How messages are made. */
export type Load =
  /** So many calls wait for their answer at any time. */
  | { readonly kind: "calls"; readonly inFlight: number }
  /** Calls begin at random, so many a second on average, whether earlier ones are answered or not. */
  | { readonly kind: "arrivals"; readonly perSecond: number }
  /** Events, so many of them unconfirmed at any time. Counted when the last service has handled the last of them. */
  | { readonly kind: "events"; readonly unconfirmed: number }
  /** One-way commands, so many of them unconfirmed at any time. Counted when handled. */
  | { readonly kind: "sends"; readonly unconfirmed: number };

/** One case. */
export interface Case {
  readonly name: string;
  readonly title: string;
  readonly load: Load;
  /** About how large a body is as JSON. */
  readonly bodyBytes: number;
  /** Different services that handle it; more than one for events only. */
  readonly services: number;
  /** Instances of each service. */
  readonly instances: number;
  readonly work: Work;
  /** Routes, or subscriptions, that are registered besides and get nothing. */
  readonly beside: number;
  /** Whether bodies are checked by a schema on both sides. */
  readonly schema: boolean;
  /** Whether it counts from the start of its processes, with nothing warm, for as long as most programs take to warm up. */
  readonly cold: boolean;
  /** Whether it is part of a quick run. */
  readonly quick: boolean;
}

const plain = {
  bodyBytes: 200,
  services: 1,
  instances: 1,
  work: "nothing",
  beside: 0,
  schema: false,
  cold: false,
  quick: false,
} as const;

function calls(inFlight: number): Load {
  return { kind: "calls", inFlight };
}

/** Calls of 200 bytes, 64 in flight, to one handler that does nothing: what others differ from. */
export const plainCalls: Case = {
  ...plain,
  name: "calls-64",
  title: "calls, 64 in flight",
  load: calls(64),
  quick: true,
};

function arrivals(perSecond: number): Case {
  const count = perSecond.toLocaleString("en");
  return {
    ...plain,
    name: `arrivals-${perSecond}`,
    title: `calls at random times, ${count}/s`,
    load: { kind: "arrivals", perSecond },
  };
}

const events: Load = { kind: "events", unconfirmed: 256 };

/** All cases, in the order of the tables. */
export const cases: readonly Case[] = [
  { ...plain, name: "calls-1", title: "calls, 1 in flight", load: calls(1), quick: true },
  {
    ...plain,
    name: "calls-cold",
    title: "calls, 1 in flight, the first five seconds",
    load: calls(1),
    cold: true,
  },
  plainCalls,
  { ...plain, name: "calls-512", title: "calls, 512 in flight", load: calls(512), quick: true },
  ...[1_000, 5_000, 15_000, 30_000].map(arrivals),
  {
    ...plain,
    name: "busy",
    title: "calls, 64 in flight, 4 instances, 5 ms of CPU each",
    load: calls(64),
    instances: 4,
    work: { cpuMs: 5 },
  },
  {
    ...plain,
    name: "waiting",
    title: "calls, 512 in flight, 4 instances, 20 ms of waiting each",
    load: calls(512),
    instances: 4,
    work: { waitMs: 20 },
  },
  { ...plain, name: "events-1", title: "events to 1 service", load: events, quick: true },
  { ...plain, name: "events-5", title: "events to 5 services", load: events, services: 5 },
  {
    ...plain,
    name: "sends",
    title: "one-way commands",
    load: { kind: "sends", unconfirmed: 256 },
  },
  { ...plain, name: "body-100", title: "calls, 64 in flight, 100 B", load: calls(64), bodyBytes: 100 },
  { ...plain, name: "body-10k", title: "calls, 64 in flight, 10 KB", load: calls(64), bodyBytes: 10_000 },
  { ...plain, name: "body-1m", title: "calls, 8 in flight, 1 MB", load: calls(8), bodyBytes: 1_000_000 },
  {
    ...plain,
    name: "routes-1000",
    title: "calls, 64 in flight, 1,000 routes",
    load: calls(64),
    beside: 999,
  },
  {
    ...plain,
    name: "subscriptions-1000",
    title: "events to 1 service, 1,000 subscriptions",
    load: events,
    beside: 999,
  },
  {
    ...plain,
    name: "schema",
    title: "calls, 64 in flight, zod on both sides",
    load: calls(64),
    schema: true,
  },
];
