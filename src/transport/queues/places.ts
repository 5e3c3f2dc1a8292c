/** The places at the broker that a service consumes from. */

import type { Source } from "../delivery/session-delivery.ts";
import type { Lane } from "../transport.ts";

/** The places of the fast lane. */
export type CallPlace = "calls" | "calls alone" | "calls batch";

/** What a service consumes from. */
export type Place = Lane | CallPlace | "inbox alone" | "replies";

/** The places that all instances of a service share. */
export type SharedPlace = Exclude<Place, "instance" | "replies">;

export const SHARED_PLACES: readonly SharedPlace[] = [
  "calls",
  "calls alone",
  "calls batch",
  "inbox",
  "inbox alone",
];

/** What comes back by itself, whatever the others wait for. */
export type Part = "replies" | "instance" | "calls" | "inbox";

/** The part that a place belongs to. */
export const partOf: Readonly<Record<ReattachTarget, Part>> = {
  replies: "replies",
  instance: "instance",
  calls: "calls",
  "calls alone": "calls",
  "calls batch": "calls",
  inbox: "inbox",
  "inbox alone": "inbox",
  bindings: "inbox",
};

/** What is tried again on its own: a consumer, or the bindings. */
export type ReattachTarget = Place | "bindings";

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
