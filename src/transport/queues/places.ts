/** The places at the broker that a service consumes from. */

import type { AmqpDelivery } from "../amqp-client.ts";
import type { Lane } from "../transport.ts";

/** The queue of a service that a delivery came from: a lane's own, or the one for what is tried again alone. */
export interface Source {
  readonly lane: Lane;
  readonly alone: boolean;
}

/** Takes what the queues of a service deliver. */
export interface QueueReceiver {
  /** True while the session is being closed: then nothing is published to its queue again. */
  readonly isClosing: boolean;
  /** Returns what takes the deliveries of a source, for good. */
  takerOf(source: Source): (delivery: AmqpDelivery) => void;
  /** Takes a delivery in hand, to no handler. @returns what publishes it to its queue again. */
  hold(source: Source, delivery: AmqpDelivery): () => unknown;
  /** Takes a reply. */
  readonly onReply: (delivery: AmqpDelivery) => void;
  /** Returns whether answers wait to be sent. */
  readonly hasWaitingAnswers: () => boolean;
  /** Notes that the broker has ended the consumer of a queue, with all that it had been given. */
  ended(place: Place): void;
}

/** The places of the fast lane. */
export type CallPlace = "calls" | "calls alone" | "calls batch";

/** A queue that a service consumes from. */
export type Place = Lane | CallPlace | "inbox alone" | "replies";

/** The places of an instance alone. */
export type ExclusivePlace = "instance" | "replies" | "discovery";

/** A place for a consumer. */
export type ConsumedPlace = Place | ExclusivePlace;

/** The places that all instances of a service share. */
export type SharedPlace = Exclude<Place, ExclusivePlace>;

/** All places of a service, in the order in which they end. */
export const PLACES: readonly Place[] = [
  "instance",
  "replies",
  "calls",
  "calls alone",
  "calls batch",
  "inbox",
  "inbox alone",
];

/** A part of a session that comes back by itself, whatever the others wait for. */
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

/** A part that is tried again on its own: a consumer, or the bindings. */
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
