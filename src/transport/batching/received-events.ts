/**
 * Events that came in one message. Each is a delivery of its own; the message is acknowledged when the last of them is settled.
 */

import { runOutsideContext } from "../../async/outside-context.ts";
import { eventsIn } from "../../protocol/batch.ts";
import type { Message } from "../../protocol/message.ts";
import type { AmqpDelivery, Hold } from "../amqp-client.ts";

/**
 * How long after the arrival of a message its events are begun, in milliseconds. Later ones are given back, because the broker
 * expects the acknowledgement of the message within half an hour, and each handler may take ten minutes.
 */
const BEGIN_MS = 60_000;

/** Returns the events in a message; `undefined` if it cannot be read. Then the whole message is handled as one event. */
export function readableEvents(message: Message): readonly Message[] | undefined {
  try {
    return eventsIn(message);
  } catch {
    return undefined;
  }
}

/** The way of an event. */
export interface EventOutlet {
  /** Passes an event to its handler. */
  handOver(event: AmqpDelivery): void;
  /** Gives an event back as a message of its own; `undefined` if it can only be handled here. */
  readonly giveBack: ((event: AmqpDelivery) => unknown) | undefined;
}

/**
 * A message with several events. It takes one place among the messages in hand, so its events are handled one after the other.
 */
export class ReceivedEvents {
  readonly #received: AmqpDelivery;
  readonly #events: readonly Message[];
  readonly #outlet: EventOutlet;
  readonly #until: number = performance.now() + BEGIN_MS;
  #next = 0;
  #settled = 0;
  #isAcked: () => void = () => undefined;
  /** Resolves when the message is acknowledged. */
  readonly #acked: Promise<void> = new Promise((resolve) => {
    this.#isAcked = resolve;
  });

  constructor(received: AmqpDelivery, events: readonly Message[], outlet: EventOutlet) {
    this.#received = received;
    this.#events = events;
    this.#outlet = outlet;
  }

  /** True once the last event was begun or given back. */
  get isBegun(): boolean {
    return this.#next === this.#events.length;
  }

  /** Begins the first event, or all of them if the message was delivered before: then no handler runs for them. */
  begin(): void {
    do this.#begin();
    while (this.#received.redelivered && !this.isBegun);
  }

  /** Gives back the events that were not begun. */
  stop(): void {
    const { giveBack } = this.#outlet;
    while (giveBack !== undefined && !this.isBegun) giveBack(this.#take());
  }

  /** Notes that an event was settled, and begins the next one. */
  settled(): void {
    this.#settled += 1;
    if (this.#settled === this.#events.length) {
      this.#received.ack();
      this.#isAcked();
    } else if (!this.isBegun && !this.#received.redelivered) {
      // In a turn of its own, and outside of the context of the handler that has just ended.
      runOutsideContext(queueMicrotask, () => this.#continue());
    }
  }

  /** Resolves when the broker has taken the acknowledgement of the message. */
  async acksTaken(): Promise<void> {
    await this.#acked;
    await this.#received.acksTaken?.();
  }

  get hold(): Hold {
    return this.#received.hold;
  }

  #continue(): void {
    if (performance.now() > this.#until) this.stop();
    if (!this.isBegun) this.#begin();
  }

  #begin(): void {
    this.#outlet.handOver(this.#take());
  }

  #take(): AmqpDelivery {
    const message = this.#events[this.#next] as Message;
    this.#next += 1;
    return new ReceivedEvent(message, this.#received, this);
  }
}

class ReceivedEvent implements AmqpDelivery {
  readonly message: Message;
  readonly queue: string;
  readonly exchange: string;
  readonly key: string;
  readonly redelivered: boolean;
  readonly #of: ReceivedEvents;
  #isSettled = false;

  constructor(message: Message, { queue, exchange, key, redelivered }: AmqpDelivery, of: ReceivedEvents) {
    this.message = message;
    this.queue = queue;
    this.exchange = exchange;
    this.key = key;
    this.redelivered = redelivered;
    this.#of = of;
  }

  get hold(): Hold {
    return this.#of.hold;
  }

  acksTaken(): Promise<void> {
    return this.#of.acksTaken();
  }

  ack(): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.#of.settled();
  }

  /** Counts as an end, because only the whole message could return to the queue. */
  requeue(): void {
    this.ack();
  }
}
