/** The places at the broker that a service consumes from. */

import type { Namespace, QueuePlan } from "../../protocol/topology.ts";
import type { Lane } from "../transport.ts";
import type { Source } from "./delivery.ts";

/** The places of the fast lane. */
export type CallPlace = "calls" | "calls alone" | "calls batch";

/** What a service consumes from. */
export type Place = Lane | CallPlace | "inbox alone" | "replies";

/** What is tried again on its own: a consumer, or the bindings. */
export type Attempt = Place | "bindings";

/** Where a delivery of a consumer comes from. */
export const sources: Readonly<Record<Exclude<Place, "replies">, Source>> = {
  calls: { lane: "calls", alone: false },
  inbox: { lane: "inbox", alone: false },
  "calls alone": { lane: "calls", alone: true },
  // Each call of a batch is one like any other: its copy goes to the queue for calls.
  "calls batch": { lane: "calls", alone: false },
  "inbox alone": { lane: "inbox", alone: true },
  instance: { lane: "instance", alone: false },
};
/** All that deliver: what a pause ends. */
export const SOURCES: readonly (keyof typeof sources)[] = Object.keys(sources) as (keyof typeof sources)[];

/** Returns the queue of each place of the fast lane. */
export function callPlans({
  namespace,
  service,
}: {
  readonly namespace: Namespace;
  readonly service: string;
}): Readonly<Record<CallPlace, QueuePlan>> {
  const [calls, again, batches] = namespace.callQueues(service);
  return { calls, "calls alone": again, "calls batch": batches };
}
