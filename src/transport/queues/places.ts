/** The places at the broker that a service consumes. */

import type { AmqpDelivery } from "../amqp-client.ts";
import type { Lane } from "../transport.ts";

/**
 * The queue of a service that a delivery came from: the lane's own queue or, if `alone`, the queue of messages that are handled
 * alone.
 */
export interface Source {
  readonly lane: Lane;
  readonly alone: boolean;
}

/** Receives the deliveries of a service's queues. */
export interface QueueReceiver {
  /** True while the session is being closed. Then nothing is published to a queue again. */
  readonly isClosing: boolean;
  /** Returns the callback for the deliveries of a source, on every connection. */
  takerOf(source: Source): (delivery: AmqpDelivery) => void;
  /** Takes a delivery in hand without running a handler. Returns a function that publishes it to its queue again. */
  hold(source: Source, delivery: AmqpDelivery): () => unknown;
  /** Is called with each message from the reply queue. */
  readonly onReply: (delivery: AmqpDelivery) => void;
  /** Returns whether answers wait to be sent. */
  readonly hasWaitingAnswers: () => boolean;
  /** Notes that the broker has ended the consumer of a queue, so that its unsettled deliveries are lost. */
  ended(place: Place): void;
}

/** The places of the calls lane. */
export type CallPlace = "calls" | "calls alone" | "calls batch";

/** A queue that a service consumes. */
export type Place = Lane | CallPlace | "inbox alone" | "replies";

/** The places that belong to a single instance. */
export type ExclusivePlace = "instance" | "replies" | "discovery";

/** A place for one consumer. */
export type ConsumedPlace = Place | ExclusivePlace;

/** The places that all instances of a service share. */
export type SharedPlace = Exclude<Place, ExclusivePlace>;

/** All places of a service, in the order in which their consumers are ended. */
export const PLACES: readonly Place[] = [
  "instance",
  "replies",
  "calls",
  "calls alone",
  "calls batch",
  "inbox",
  "inbox alone",
];

/** A part of a session that is restored on its own and waits for no other part. */
export type Part = "replies" | "instance" | "calls" | "inbox";

/** The part that each place belongs to. */
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

/** The places, or the bindings, that are tried again on their own. */
export type ReattachTarget = Place | "bindings";

/** The source of the deliveries of each place. */
export const sources: Readonly<Record<Exclude<Place, "replies">, Source>> = {
  calls: { lane: "calls", alone: false },
  inbox: { lane: "inbox", alone: false },
  "calls alone": { lane: "calls", alone: true },
  // A call from a batch is like any other: its copy goes to the queue for calls.
  "calls batch": { lane: "calls", alone: false },
  "inbox alone": { lane: "inbox", alone: true },
  instance: { lane: "instance", alone: false },
};
