/** Acknowledgements of a channel: all that one callback of the event loop makes go out together. */

import type { Channel, ConsumeMessage } from "amqplib";
import type { ConsumeOptions, Hold } from "../../amqp-client.ts";

/** How long after an acknowledgement the broker is asked whether it has it, if nothing else tells. */
const ASK_AFTER_MS = 1_000;

/**
 * One `basic.ack` for every message up to a delivery tag where it can be, instead of one for each: a broker pays for each,
 * on a quorum queue with an entry of its log. What ends out of order is acknowledged by itself.
 *
 * AMQP confirms no acknowledgement. Two things show that the broker has taken one: a delivery that its prefetch would not
 * have allowed otherwise, and the answer to a request that was written after it on the same channel.
 */
export class Acknowledgements {
  readonly #channel: Channel;
  readonly #hasWaitingAnswers: () => boolean;
  /** The most messages that the broker may have handed over unsettled. */
  #most: number;
  /** The prefetch that the channel was told last. */
  #prefetch: number;
  /** Tags of what is not settled yet, in their order, which is that of delivery. */
  readonly #unsettled = new Set<number>();
  /** Tags of what is settled here, and not written yet. */
  #settledHere: number[] = [];
  #thisCallback = 0;
  #thisTurn = 0;
  #lastTurn = 0;

  // The tags that are written together are a batch. Batches are numbered from 1.
  #written = 0;
  #taken = 0;
  /** For each batch that is written and not known to be taken: how many messages had been settled with it. */
  readonly #settled: number[] = [];
  #settledInAll = 0;
  #asking: Promise<void> | undefined;
  #stopAsking: () => void = () => undefined;
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;

  /** `hasWaitingAnswers` as in {@link ConsumeOptions}. */
  constructor(channel: Channel, prefetch: number, hasWaitingAnswers: () => boolean = () => false) {
    this.#channel = channel;
    this.#hasWaitingAnswers = hasWaitingAnswers;
    this.#prefetch = prefetch;
    this.#most = prefetch;
  }

  /** Notes that the channel is told another prefetch, for one more consumer, and what it may have unsettled with that. */
  widen(prefetch: number, most: number): void {
    this.#prefetch = prefetch;
    if (most > this.#most) this.#most = most;
  }

  /** A message came. */
  delivered(tag: number): void {
    this.#unsettled.add(tag);
    const oldest = this.#settled[0];
    // As many of those before it are unsettled as the prefetch allows, so all others have been settled at the broker.
    if (oldest !== undefined && this.#most > 0 && oldest <= tag - this.#most) this.#tookBefore(tag);
  }

  /** @returns the number of the batch that it is written in. */
  ack(tag: number): number {
    if (this.#thisTurn === 0) setImmediate(this.#endTurn);
    if (this.#thisCallback === 0) process.nextTick(this.#endCallback);
    this.#thisTurn += 1;
    this.#thisCallback += 1;
    this.#settledHere.push(tag);
    return this.#written + 1;
  }

  /**
   * Gives a message back to its queue.
   *
   * @returns the number of the batch that it is written in.
   */
  requeue(tag: number): number {
    this.flush();
    this.#unsettled.delete(tag);
    this.#attempt(() => this.#channel.reject(withTag(tag), true));
    this.#wrote(1);
    return this.#written;
  }

  /** Tells of a message by the batch that it was settled in; 0 if it is unsettled. */
  holdOf(batch: number): Hold {
    if (batch !== 0 && batch <= this.#taken) return "released";
    return this.#isOver ? "lost" : "held";
  }

  // An acknowledgement that waits for the end of the turn is sent in the next one. Where as many have come as in the turn before, no more are
  // expected. An answer goes over another connection: where this one is about to write anyway, that one may come after it.
  readonly #endCallback = (): void => {
    this.#thisCallback = 0;
    const isExpected = this.#thisTurn < this.#lastTurn;
    if (!isExpected && !this.#hasWaitingAnswers() && !isAboutToWrite(this.#channel)) this.flush();
  };

  readonly #endTurn = (): void => {
    this.#lastTurn = this.#thisTurn;
    this.#thisTurn = 0;
    if (this.#hasWaitingAnswers()) setImmediate(this.#endNextTurn);
    else this.flush();
  };

  readonly #endNextTurn = (): void => this.flush();

  /** Writes what is not written yet. */
  flush(): void {
    const tags = this.#settledHere;
    if (tags.length === 0) return;
    this.#settledHere = [];
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
    if (together < tags.length)
      for (const tag of tags) if (tag > oldest) this.#attempt(() => this.#channel.ack(withTag(tag)));
    this.#wrote(tags.length);
  }

  /** Resolves when the broker has taken all acknowledgements so far, or the channel is gone. */
  async taken(): Promise<void> {
    this.flush();
    const batch = this.#written;
    while (this.#taken < batch && !this.#isOver) await this.#ask();
  }

  /** The channel is gone, or is given up: what the broker is not known to have taken may come again. */
  end(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#stopAsking();
  }

  #wrote(count: number): void {
    this.#written += 1;
    this.#settledInAll += count;
    this.#settled.push(this.#settledInAll);
    if (this.#timer === undefined && !this.#isOver)
      this.#timer = setTimeout(this.#askLater, ASK_AFTER_MS).unref();
  }

  #tookBefore(tag: number): void {
    let count = 0;
    for (const settled of this.#settled) {
      if (settled > tag - this.#most) break;
      count += 1;
    }
    this.#took(this.#taken + count);
  }

  #took(batch: number): void {
    if (batch <= this.#taken) return;
    this.#settled.splice(0, batch - this.#taken);
    this.#taken = batch;
  }

  readonly #askLater = (): void => {
    this.#timer = undefined;
    if (this.#settled.length === 0 || this.#isOver) return;
    // An earlier question, still unanswered, covers only what was written before it.
    void this.#ask().then(() => {
      if (this.#settled.length > 0 && this.#timer === undefined && !this.#isOver)
        this.#timer = setTimeout(this.#askLater, ASK_AFTER_MS).unref();
    });
  };

  // The same prefetch once more: that changes nothing, and is answered after what was written before.
  #ask(): Promise<void> {
    this.#asking ??= new Promise<void>((resolve) => {
      const batch = this.#written;
      this.#stopAsking = resolve;
      const failed = (): void => this.end();
      try {
        this.#channel.prefetch(this.#prefetch).then(() => {
          this.#took(batch);
          resolve();
        }, failed);
      } catch {
        failed();
      }
    }).finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  #attempt(act: () => void): void {
    try {
      act();
    } catch {
      // The channel is gone: the broker has given the message to someone else already.
    }
  }
}

// amqplib says so inside only: where it does not, an acknowledgement waits for the end of its turn.
function isAboutToWrite(channel: Channel): boolean {
  const { connection } = channel as {
    readonly connection?: { readonly muxer?: { readonly scheduledRead?: boolean } };
  };
  return connection?.muxer?.scheduledRead !== false;
}

// Makes what amqplib reads of a message that is to be settled.
function withTag(deliveryTag: number): ConsumeMessage {
  return { fields: { deliveryTag } } as ConsumeMessage;
}
