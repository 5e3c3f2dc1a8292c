/** The acknowledgements of a channel. Those of one callback of the event loop are sent together. */

import type { Channel, ConsumeMessage } from "amqplib";
import type { ConsumeOptions, Hold } from "../../amqp-client.ts";

/**
 * How long after an acknowledgement the broker is asked whether it has taken it, in milliseconds, if nothing else shows that.
 */
const ASK_AFTER_MS = 1_000;

/**
 * Acknowledges all messages up to a delivery tag with one `basic.ack` where possible: the broker has work for each `basic.ack`,
 * and a quorum queue writes an entry of its log. Messages that are settled out of order are acknowledged one by one.
 *
 * AMQP does not confirm acknowledgements. Two things show that the broker has taken one: a delivery that its prefetch would not
 * have allowed otherwise, and the answer to a request that was sent after it on the same channel.
 */
export class Acknowledgements {
  readonly #channel: Channel;
  readonly #hasWaitingAnswers: () => boolean;
  /** The most unsettled messages that the broker may have delivered on the channel. */
  #most: number;
  /** The prefetch that was last set on the channel. */
  #prefetch: number;
  /** The tags of unsettled messages, in the order of delivery. */
  readonly #unsettled = new Set<number>();
  /** The tags that are settled here and not sent yet. */
  #settledHere: number[] = [];
  #thisCallback = 0;
  #thisTurn = 0;
  #lastTurn = 0;

  // The tags that are sent together are a batch. Batches are numbered from 1.
  #written = 0;
  #taken = 0;
  /** For each batch that was sent and is not known to be taken: how many messages were settled in all, up to that batch. */
  readonly #settled: number[] = [];
  #settledInAll = 0;
  #asking: Promise<void> | undefined;
  #stopAsking: () => void = () => undefined;
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;

  /** @param hasWaitingAnswers as in {@link ConsumeOptions}. */
  constructor(channel: Channel, prefetch: number, hasWaitingAnswers: () => boolean = () => false) {
    this.#channel = channel;
    this.#hasWaitingAnswers = hasWaitingAnswers;
    this.#prefetch = prefetch;
    this.#most = prefetch;
  }

  /**
   * Notes that the channel gets another prefetch, for one more consumer, and the most unsettled messages that it may have then.
   */
  widen(prefetch: number, most: number): void {
    this.#prefetch = prefetch;
    if (most > this.#most) this.#most = most;
  }

  /** Notes a delivery. */
  delivered(tag: number): void {
    this.#unsettled.add(tag);
    const oldest = this.#settled[0];
    // The broker may have no more than the allowed number of unsettled messages before this one. So it has settled all earlier
    // ones.
    if (oldest !== undefined && this.#most > 0 && oldest <= tag - this.#most) this.#tookBefore(tag);
  }

  /**
   * Acknowledges a message.
   *
   * @returns the number of the batch that the acknowledgement is sent in.
   */
  ack(tag: number): number {
    if (this.#thisTurn === 0) setImmediate(this.#endTurn);
    if (this.#thisCallback === 0) process.nextTick(this.#endCallback);
    this.#thisTurn += 1;
    this.#thisCallback += 1;
    this.#settledHere.push(tag);
    return this.#written + 1;
  }

  /**
   * Returns a message to its queue.
   *
   * @returns the number of the batch that this is sent in.
   */
  requeue(tag: number): number {
    this.flush();
    this.#unsettled.delete(tag);
    this.#attempt(() => this.#channel.reject(withTag(tag), true));
    this.#wrote(1);
    return this.#written;
  }

  /** Returns the {@link Hold} of a message. `batch` is the batch in which it was settled; 0 if it is unsettled. */
  holdOf(batch: number): Hold {
    if (batch !== 0 && batch <= this.#taken) return "released";
    return this.#isOver ? "lost" : "held";
  }

  // Sends the acknowledgements at the end of this callback if no more are expected, which is so if the turn has as many as the
  // one before. Otherwise they are sent at the end of the turn. They also wait for answers, which go over another connection
  // and must be sent first. If this connection is about to write anyway, the acknowledgements might overtake an answer, so they
  // wait then, too.
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

  /** Sends the acknowledgements that wait. */
  flush(): void {
    const tags = this.#settledHere;
    if (tags.length === 0) return;
    this.#settledHere = [];
    for (const tag of tags) this.#unsettled.delete(tag);
    const [oldest = Number.POSITIVE_INFINITY] = this.#unsettled;
    // RabbitMQ accepts only the tag of an unsettled message, so the last tag must be one of these.
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

  /** Resolves when the broker has taken all acknowledgements so far, or when the channel is gone. */
  async taken(): Promise<void> {
    this.flush();
    const batch = this.#written;
    while (this.#taken < batch && !this.#isOver) await this.#ask();
  }

  /** Notes that the channel is gone or given up. Messages whose acknowledgement is not known to be taken may come again. */
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
    // An earlier request, if it is still unanswered, covers only acknowledgements that were sent before it.
    void this.#ask().then(() => {
      if (this.#settled.length > 0 && this.#timer === undefined && !this.#isOver)
        this.#timer = setTimeout(this.#askLater, ASK_AFTER_MS).unref();
    });
  };

  // Asks by setting the same prefetch again. That changes nothing, and it is answered after everything that was sent before.
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
      // The channel is gone, so the broker redelivers the message.
    }
  }
}

// Returns whether the connection is about to write to the socket. These are undocumented fields of amqplib; without them the
// result is true, so that acknowledgements wait for the end of the turn.
function isAboutToWrite(channel: Channel): boolean {
  const { connection } = channel as {
    readonly connection?: {
      readonly muxer?: { readonly scheduledRead?: boolean };
      readonly stream?: { readonly writableCorked?: number };
    };
  };
  return connection?.muxer?.scheduledRead !== false || connection.stream?.writableCorked !== 0;
}

// Returns the only part that amqplib reads of a message to settle.
function withTag(deliveryTag: number): ConsumeMessage {
  return { fields: { deliveryTag } } as ConsumeMessage;
}
