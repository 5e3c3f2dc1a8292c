/** Calls that came in one message: each is a delivery of its own, and the message is acknowledged with the last of them. */

import { bounced, callsIn } from "../../protocol/batch.ts";
import type { Message } from "../../protocol/message.ts";
import type { AmqpClient, AmqpDelivery, Hold } from "../wire.ts";

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
  readonly #wired: AmqpDelivery;
  readonly #wire: AmqpClient | undefined;
  #left: number;
  #bouncing: Bouncing[] = [];

  constructor(wired: AmqpDelivery, count: number, wire: AmqpClient | undefined) {
    this.#wired = wired;
    this.#left = count;
    this.#wire = wire;
  }

  /** One of its calls, as if it had come by itself. */
  delivery(message: Message): AmqpDelivery {
    return new ReceivedCall(message, this.#wired, this);
  }

  /** One of its calls has ended. */
  end(): void {
    this.#left -= 1;
    if (this.#left === 0) this.#wired.ack();
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
    const { replyTo = "" } = this.#wired.message.properties;
    const end = (isBack: boolean): void => {
      for (const { resolve } of bouncing) resolve(isBack);
    };
    if (this.#wire === undefined) {
      end(false);
      return;
    }
    const message = bounced(bouncing.map(({ id }) => id));
    this.#wire.publish({ exchange: "", key: replyTo }, message, (failure) => end(failure === undefined));
  }
}

interface Bouncing {
  readonly id: string;
  resolve(isBack: boolean): void;
}

class ReceivedCall implements AmqpDelivery {
  readonly message: Message;
  readonly exchange: string;
  readonly key: string;
  readonly redelivered: boolean;
  readonly #wired: AmqpDelivery;
  #of: ReceivedBatch | undefined;

  constructor(message: Message, wired: AmqpDelivery, of: ReceivedBatch) {
    this.message = message;
    this.exchange = wired.exchange;
    this.key = wired.key;
    this.redelivered = wired.redelivered;
    this.#wired = wired;
    this.#of = of;
  }

  /** Once it has ended, its sender is asked before it is run again, and knows of it. */
  get hold(): Hold {
    return this.#of === undefined ? "released" : this.#wired.hold;
  }

  async acksTaken(): Promise<void> {
    await this.#wired.acksTaken?.();
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
