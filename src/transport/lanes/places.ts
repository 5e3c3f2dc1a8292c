/** The places at the broker that a service consumes from. */

import type { Lane } from "../transport.ts";
import type { Source } from "./delivery.ts";

/** What a service consumes from. */
export type Place = Lane | "calls alone" | "inbox alone" | "replies";

/** What is tried again on its own: a consumer, or the bindings. */
export type Attempt = Place | "bindings";

/** Where a delivery of a consumer comes from. */
export const sources: Readonly<Record<Exclude<Place, "replies">, Source>> = {
  calls: { lane: "calls", alone: false },
  inbox: { lane: "inbox", alone: false },
  "calls alone": { lane: "calls", alone: true },
  "inbox alone": { lane: "inbox", alone: true },
  instance: { lane: "instance", alone: false },
};
/** All that deliver: what a pause ends. */
export const SOURCES: readonly (keyof typeof sources)[] = Object.keys(sources) as (keyof typeof sources)[];
