/** A consumer on a channel of its own, so that it shares prefetch, failures and acknowledgements with no other consumer. */

import type { Channel, ConsumeMessage } from "amqplib";
import { isConfluoError } from "../../../errors.ts";
import type { Message, Properties } from "../../../protocol/message.ts";
import type { AmqpDelivery, ConsumeOptions, Consumer, Hold } from "../../amqp-client.ts";
import type { Connection } from "../connection.ts";
import { operationFailure } from "../failure.ts";
import { Acknowledgements } from "./acknowledgements.ts";
import { headerBytesOf } from "./header-bytes.ts";

/** The largest prefetch that AMQP's field can hold. */
const MOST_PREFETCH = 65_535;

/** Starts consuming. */
export async function startConsumer(connection: Connection, options: ConsumeOptions): Promise<Consumer> {
  const { queue, prefetch, onDelivery, onCancelled, hasWaitingAnswers } = options;
  const what = `consume from ${queue}`;
  let opened: Channel | undefined;
  try {
    const channel = await connection.channel();
    opened = channel;
    const acknowledgements =
      prefetch === "no-ack" ? undefined : new Acknowledgements(channel, prefetch, hasWaitingAnswers);
    const deliver = (message: ConsumeMessage | null): void => {
      if (message !== null) {
        onDelivery(new ChannelDelivery(message, queue, acknowledgements));
        return;
      }
      ended(Object.assign(new Error("the broker cancelled the consumer"), { code: 404 }));
      void closed(channel); // called again for each share
    };
    const consumer = new ChannelConsumer({ channel, connection, acknowledgements, queue, prefetch, deliver });
    let failure: unknown;
    let isGranted = false;
    channel.on("error", (error: unknown) => {
      failure = error;
    });
    channel.on("close", () => acknowledgements?.end());
    const ended = (cause: unknown): void => {
      if (!consumer.end()) return;
      failure = cause;
      if (!isGranted) return; // the promise of this function rejects
      // A connection that breaks closes its channels first. Then the connection is lost, which is reported elsewhere.
      setImmediate(() => {
        if (connection.open) onCancelled(operationFailure(cause, what));
      });
    };
    // Registered before any request is sent, because the end of a consumer may be read together with its start.
    channel.on("close", () => ended(failure ?? new Error("the channel was closed")));
    if (prefetch !== "no-ack") await connection.answered(what, channel.prefetch(prefetch));
    const consuming = channel.consume(queue, deliver, { noAck: prefetch === "no-ack" });
    const { consumerTag } = await connection.answeredOrAlive(what, consuming);
    if (!consumer.running) throw failure;
    isGranted = true;
    consumer.began(consumerTag);
    return consumer;
  } catch (error) {
    // Not awaited, because a broker that did not answer may not answer this either.
    Promise.resolve()
      .then(() => opened?.close())
      .catch(() => undefined);
    throw isConfluoError(error) ? error : operationFailure(error, what);
  }
}

interface ChannelConsumerParts {
  readonly channel: Channel;
  readonly connection: Connection;
  readonly acknowledgements: Acknowledgements | undefined;
  readonly queue: string;
  readonly prefetch: number | "no-ack";
  readonly deliver: (message: ConsumeMessage | null) => void;
}

/**
 * A part of the consumer with a tag of its own. A prefetch applies only to the consumer that is started after it, and cannot be
 * changed.
 */
interface Share {
  readonly tag: string;
  readonly prefetch: number;
}

class ChannelConsumer implements Consumer {
  readonly #parts: ChannelConsumerParts;
  /** The first share is the one that the consumer began with. The others were added by {@link allow}. */
  readonly #shares: Share[] = [];
  #allowed: number;
  /** The total prefetch of the shares that have ended. */
  #ended = 0;
  #isAdapting = false;
  #adapting: Promise<void> | undefined;
  #running = true;

  constructor(parts: ChannelConsumerParts) {
    this.#parts = parts;
    this.#allowed = parts.prefetch === "no-ack" ? 0 : parts.prefetch;
  }

  began(tag: string): void {
    this.#shares.push({ tag, prefetch: this.#allowed });
  }

  get running(): boolean {
    return this.#running;
  }

  /** Ends the consumer. Returns whether it was running. */
  end(): boolean {
    const running = this.#running;
    this.#running = false;
    return running;
  }

  allow(deliveries: number): void {
    if (this.#parts.acknowledgements === undefined) return;
    this.#allowed = deliveries;
    if (this.#isAdapting) return; // it reads the new value
    this.#isAdapting = true;
    this.#adapting = this.#adapt();
  }

  // Starts or ends shares. Errors are ignored here, because the 'close' of the channel reports them.
  async #adapt(): Promise<void> {
    try {
      while (this.#running) {
        const present = this.#shares.reduce((sum, { prefetch }) => sum + prefetch, 0);
        const last = this.#shares.at(-1);
        if (present < this.#allowed) await this.#begin(Math.min(this.#allowed - present, MOST_PREFETCH));
        else if (last !== undefined && this.#shares.length > 1 && present - last.prefetch >= this.#allowed) {
          this.#shares.pop();
          this.#ended += last.prefetch;
          await this.#parts.channel.cancel(last.tag);
        } else return;
      }
    } catch {
    } finally {
      this.#isAdapting = false;
    }
  }

  async #begin(prefetch: number): Promise<void> {
    const { channel, connection, acknowledgements, queue, deliver } = this.#parts;
    const what = `consume from ${queue}`;
    // A message of a share that has ended may still be unsettled. It does not count against the prefetch of the new share.
    acknowledgements?.widen(prefetch, this.#allowed + this.#ended);
    await connection.answered(what, channel.prefetch(prefetch));
    if (!this.#running) return;
    const { consumerTag } = await connection.answeredOrAlive(what, channel.consume(queue, deliver));
    if (this.#running) this.#shares.push({ tag: consumerTag, prefetch });
    else await channel.cancel(consumerTag);
  }

  async cancel(): Promise<void> {
    if (!this.end()) return;
    const { channel } = this.#parts;
    await Promise.all(this.#shares.map(({ tag }) => channel.cancel(tag).catch(() => undefined)));
    await this.#adapting;
  }

  async close(): Promise<void> {
    const { channel, connection, acknowledgements } = this.#parts;
    this.end();
    acknowledgements?.flush();
    await Promise.race([closed(channel), connection.lost]);
    acknowledgements?.end();
  }
}

// Closes a channel. amqplib throws, instead of rejecting, if it is closed already. If the connection breaks meanwhile, the
// promise never settles.
function closed(channel: Channel): Promise<void> {
  return Promise.resolve()
    .then(() => channel.close())
    .catch(() => undefined);
}

class ChannelDelivery implements AmqpDelivery {
  readonly message: Message;
  readonly queue: string;
  readonly exchange: string;
  readonly key: string;
  readonly redelivered: boolean;
  readonly #tag: number;
  readonly #acknowledgements: Acknowledgements | undefined;
  /** The batch in which the message was acknowledged or returned; 0 while it is unsettled. */
  #batch = 0;

  constructor(
    { fields, content, properties }: ConsumeMessage,
    queue: string,
    acknowledgements: Acknowledgements | undefined,
  ) {
    this.message = { body: content, properties: properties as Properties };
    this.queue = queue;
    this.exchange = fields.exchange;
    this.key = fields.routingKey;
    this.redelivered = fields.redelivered;
    this.#tag = fields.deliveryTag;
    this.#acknowledgements = acknowledgements;
    acknowledgements?.delivered(fields.deliveryTag);
  }

  get headerBytes(): Uint8Array | undefined {
    return headerBytesOf(this.message.properties);
  }

  get hold(): Hold {
    return this.#acknowledgements?.holdOf(this.#batch) ?? "released";
  }

  ack(): void {
    if (this.#acknowledgements === undefined || this.#batch !== 0) return;
    this.#batch = this.#acknowledgements.ack(this.#tag);
  }

  async acksTaken(): Promise<void> {
    await this.#acknowledgements?.taken();
  }

  requeue(): void {
    if (this.#acknowledgements === undefined || this.#batch !== 0) return;
    this.#batch = this.#acknowledgements.requeue(this.#tag);
  }
}
