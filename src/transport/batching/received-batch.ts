/** Calls that came in one message: each is a delivery of its own, and the message is acknowledged with the last of them. */

import { bounced, callsIn } from "../../protocol/batch.ts";
import type { Message } from "../../protocol/message.ts";
import type { AmqpClient, AmqpDelivery, Hold } from "../amqp-client.ts";

/** Returns the calls of a gathered message; `undefined` if it is none, or cannot be read: then it is dealt with as a whole. */
export function readableCalls(message: Message): readonly Message[] | undefined {
  try {
    return callsIn(message);
  } catch {
    return undefined;
  }
}

/** A gathered message that is in hand. */
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

  /** One of its calls, as if it had come by itself. */
  delivery(message: Message): AmqpDelivery {
    return new ReceivedCall(message, this.#received, this);
  }

  /** One of its calls has ended. */
  end(): void {
    this.#left -= 1;
    if (this.#left === 0) this.#received.ack();
  }

  /** Sends one back: all that the turn sends back, in one message. */
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

  /** Once it has ended, its sender is asked before it is run again, and knows of it. */
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

  /** Only all of them together can go back: this one counts as ended. */
  requeue(): void {
    this.ack();
  }

  bounce(): Promise<boolean> {
    return this.#of?.bounce(this.message) ?? Promise.resolve(false);
  }
}
