/** A consumer on a channel of its own: its prefetch, its failures and its acknowledgements are nobody else's. */

import type { Channel, ConsumeMessage } from "amqplib";
import { isConfluoError } from "../../errors.ts";
import type { Message, Properties } from "../../protocol/message.ts";
import type { ConsumeOptions, Consumer, Hold, WireDelivery } from "../wire.ts";
import { Acknowledgements } from "./acknowledgements.ts";
import type { Connection } from "./connection.ts";
import { operationFailure } from "./failure.ts";

/** Starts consuming. */
export async function startConsumer(connection: Connection, options: ConsumeOptions): Promise<Consumer> {
  const { queue, prefetch, onDelivery, onCancelled } = options;
  const what = `consume from ${queue}`;
  let opened: Channel | undefined;
  try {
    const channel = await connection.channel();
    opened = channel;
    const acknowledgements = prefetch === "no-ack" ? undefined : new Acknowledgements(channel, prefetch);
    const consumer = new ChannelConsumer(channel, connection, acknowledgements);
    let failure: unknown;
    let isGranted = false;
    channel.on("error", (error: unknown) => {
      failure = error;
    });
    channel.on("close", () => acknowledgements?.end());
    const ended = (cause: unknown): void => {
      if (!consumer.end()) return;
      failure = cause;
      if (!isGranted) return; // then it never began
      // A connection that breaks closes its channels first: then it is the wire that is lost, not this consumer.
      setImmediate(() => {
        if (connection.open) onCancelled(operationFailure(cause, what));
      });
    };
    // Before anything is asked for: what ends a consumer may be read together with what grants it.
    channel.on("close", () => ended(failure ?? new Error("the channel was closed")));
    if (prefetch !== "no-ack") await connection.answered(what, channel.prefetch(prefetch));
    const deliver = (message: ConsumeMessage | null): void => {
      if (message !== null) {
        onDelivery(new ChannelDelivery(message, acknowledgements));
        return;
      }
      ended(Object.assign(new Error("the broker cancelled the consumer"), { code: 404 }));
      channel.close().catch(() => undefined);
    };
    const consuming = channel.consume(queue, deliver, { noAck: prefetch === "no-ack" });
    const { consumerTag } = await connection.answeredOrAlive(what, consuming);
    if (!consumer.running) throw failure;
    isGranted = true;
    consumer.tag = consumerTag;
    return consumer;
  } catch (error) {
    // Nobody waits for it to close: a broker that did not answer may not answer to this either.
    Promise.resolve()
      .then(() => opened?.close())
      .catch(() => undefined);
    throw isConfluoError(error) ? error : operationFailure(error, what);
  }
}

class ChannelConsumer implements Consumer {
  tag = "";
  readonly #channel: Channel;
  readonly #connection: Connection;
  readonly #acknowledgements: Acknowledgements | undefined;
  #running = true;

  constructor(channel: Channel, connection: Connection, acknowledgements: Acknowledgements | undefined) {
    this.#channel = channel;
    this.#connection = connection;
    this.#acknowledgements = acknowledgements;
  }

  get running(): boolean {
    return this.#running;
  }

  /** @returns whether it was running. */
  end(): boolean {
    const running = this.#running;
    this.#running = false;
    return running;
  }

  async cancel(): Promise<void> {
    if (!this.end()) return;
    await this.#channel.cancel(this.tag).catch(() => undefined);
  }

  async close(): Promise<void> {
    this.end();
    this.#acknowledgements?.flush();
    // On a channel that is closed already amqplib throws instead of rejecting; and where the connection breaks meanwhile, it
    // does neither.
    const closing = Promise.resolve()
      .then(() => this.#channel.close())
      .catch(() => undefined);
    await Promise.race([closing, this.#connection.lost]);
    this.#acknowledgements?.end();
  }
}

class ChannelDelivery implements WireDelivery {
  readonly message: Message;
  readonly exchange: string;
  readonly key: string;
  readonly redelivered: boolean;
  readonly #tag: number;
  readonly #acknowledgements: Acknowledgements | undefined;
  /** The batch that its acknowledgement or its return is written in; 0 while it is unsettled. */
  #batch = 0;

  constructor(
    { fields, content, properties }: ConsumeMessage,
    acknowledgements: Acknowledgements | undefined,
  ) {
    this.message = { body: content, properties: properties as Properties };
    this.exchange = fields.exchange;
    this.key = fields.routingKey;
    this.redelivered = fields.redelivered;
    this.#tag = fields.deliveryTag;
    this.#acknowledgements = acknowledgements;
    acknowledgements?.delivered(fields.deliveryTag);
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
