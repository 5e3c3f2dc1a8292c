/** Acknowledgements of a channel: all that one turn makes go out together. */

import type { Channel, ConsumeMessage } from "amqplib";

/**
 * One `basic.ack` for every message up to a delivery tag where it can be, instead of one for each: a broker pays for each,
 * on a quorum queue with an entry of its log. What ends out of order is acknowledged by itself.
 */
export class Acknowledgements {
  readonly #channel: Channel;
  /** Tags of what is not settled yet, in their order, which is that of delivery. */
  readonly #unsettled = new Set<number>();
  #turn: number[] = [];

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  /** A message came. */
  delivered(tag: number): void {
    this.#unsettled.add(tag);
  }

  ack(tag: number): void {
    if (this.#turn.length === 0) setImmediate(this.flush);
    this.#turn.push(tag);
  }

  /** Gives a message back to its queue. */
  requeue(tag: number): void {
    this.flush();
    this.#unsettled.delete(tag);
    this.#attempt(() => this.#channel.reject(withTag(tag), true));
  }

  /** Writes what is not written yet. */
  readonly flush = (): void => {
    const tags = this.#turn;
    if (tags.length === 0) return;
    this.#turn = [];
    for (const tag of tags) this.#unsettled.delete(tag);
    const [oldest = Number.POSITIVE_INFINITY] = this.#unsettled;
    // RabbitMQ takes only a tag that is unsettled, so it has to be one of this turn.
    let last = 0;
    let together = 0;
    for (const tag of tags) {
      if (tag > oldest) continue;
      together += 1;
      if (tag > last) last = tag;
    }
    if (together > 1) this.#attempt(() => this.#channel.ack(withTag(last), true));
    else if (together === 1) this.#attempt(() => this.#channel.ack(withTag(last)));
    if (together === tags.length) return;
    for (const tag of tags) if (tag > oldest) this.#attempt(() => this.#channel.ack(withTag(tag)));
  };

  #attempt(act: () => void): void {
    try {
      act();
    } catch {
      // The channel is gone: the broker has given the message to someone else already.
    }
  }
}

// All that amqplib reads of a message that is to be settled.
function withTag(deliveryTag: number): ConsumeMessage {
  return { fields: { deliveryTag } } as ConsumeMessage;
}
