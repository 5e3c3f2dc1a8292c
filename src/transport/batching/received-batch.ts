/**
 * Calls that came in one message. Each is a delivery of its own; the message is acknowledged when the last of them has ended.
 */

import { bounced, callsIn } from "../../protocol/batch.ts";
import type { Message } from "../../protocol/message.ts";
import type { AmqpClient, AmqpDelivery, Hold } from "../amqp-client.ts";

/**
 * Returns the calls in a batch; `undefined` if the message is no batch or cannot be read. Then the whole message is handled as
 * one call.
 */
export function readableCalls(message: Message): readonly Message[] | undefined {
  try {
    return callsIn(message);
  } catch {
    return undefined;
  }
}

/** A batch that is in hand. */
export class ReceivedBatch {
  readonly #received: AmqpDelivery;
  readonly #client: AmqpClient | undefined;
  #left: number;
  #bouncing: Bouncing[] = [];

  constructor(received: AmqpDelivery, count: number, client: AmqpClient | undefined) {
    this.#received = received;
    this.#left = count;
    this.#client = client;
  }

  /** Returns one of the calls as a delivery of its own. */
  delivery(message: Message): AmqpDelivery {
    return new ReceivedCall(message, this.#received, this);
  }

  /** Notes that one of the calls has ended. */
  end(): void {
    this.#left -= 1;
    if (this.#left === 0) this.#received.ack();
  }

  /** Asks the sender to send a call again by itself. All such calls of one turn travel in one message. */
  bounce({ properties: { correlationId: id = "" } }: Message): Promise<boolean> {
    return new Promise((resolve) => {
      if (this.#bouncing.length === 0) setImmediate(() => this.#sendBack());
      this.#bouncing.push({ id, resolve });
    });
  }

  #sendBack(): void {
    const bouncing = this.#bouncing;
    this.#bouncing = [];
    const { replyTo = "" } = this.#received.message.properties;
    const end = (isBack: boolean): void => {
      for (const { resolve } of bouncing) resolve(isBack);
    };
    if (this.#client === undefined) {
      end(false);
      return;
    }
    const message = bounced(bouncing.map(({ id }) => id));
    this.#client.publish({ exchange: "", key: replyTo }, message, (failure) => end(failure === undefined));
  }
}

interface Bouncing {
  readonly id: string;
  resolve(isBack: boolean): void;
}

class ReceivedCall implements AmqpDelivery {
  readonly message: Message;
  readonly queue: string;
  readonly exchange: string;
  readonly key: string;
  readonly redelivered: boolean;
  readonly #received: AmqpDelivery;
  #of: ReceivedBatch | undefined;

  constructor(message: Message, received: AmqpDelivery, of: ReceivedBatch) {
    this.message = message;
    this.queue = received.queue;
    this.exchange = received.exchange;
    this.key = received.key;
    this.redelivered = received.redelivered;
    this.#received = received;
    this.#of = of;
  }

  /**
   * `released` once the call has ended: if the batch is redelivered, the sender is asked before a call runs again, and the
   * sender has the answer.
   */
  get hold(): Hold {
    return this.#of === undefined ? "released" : this.#received.hold;
  }

  async acksTaken(): Promise<void> {
    await this.#received.acksTaken?.();
  }

  ack(): void {
    this.#of?.end();
    this.#of = undefined;
  }

  /** Counts as an end, because only the whole batch could return to the queue. */
  requeue(): void {
    this.ack();
  }

  bounce(): Promise<boolean> {
    return this.#of?.bounce(this.message) ?? Promise.resolve(false);
  }
}
