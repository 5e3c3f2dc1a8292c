/** Publishes replies without confirms, on a channel of its own, which is opened again when the broker closes it. */

import type { Channel } from "amqplib";
import { bodyLength } from "../../../protocol/codec.ts";
import type { Message } from "../../../protocol/message.ts";
import type { PublishSettled } from "../../amqp-client.ts";
import type { Connection } from "../connection.ts";
import { isClosed, unwritable } from "../failure.ts";
import { asBuffer, type ConfirmPublisher } from "./confirm-publisher.ts";
import type { PublishBackpressure } from "./publish-backpressure.ts";
import { refusalOfPublish } from "./publish-refusal.ts";
import type { Refusals } from "./refusals.ts";

/** The size in bytes up to which no broker is configured to refuse a message. */
const SMALL_BYTES = 64 * 1024;
/**
 * The limit on the replies that wait while there is no channel, in bytes. Senders that respect `congestion` stop long before
 * that.
 */
const MOST_HELD_BYTES = 16 * 1024 * 1024;

const ANY_REPLY = { route: { exchange: "", key: "" }, body: new Uint8Array(0) };

interface Held {
  readonly queue: string;
  readonly message: Message;
  readonly failed: PublishSettled | undefined;
  readonly bytes: number;
}

/** Publishes replies to queues. Replies that wait here count as congestion. */
export class Replies {
  readonly #connection: Connection;
  readonly #pressure: PublishBackpressure;
  readonly #confirmed: ConfirmPublisher;
  readonly #refusals: Refusals;
  #channel: Channel | undefined;
  /** The sizes of replies that are not known to be written. */
  #unwritten: number[] = [];
  #held: Held[] = [];
  #heldBytes = 0;

  /**
   * @param confirmed publishes large replies: a refusal for size closes the channel, and only confirms show which messages were
   * lost.
   */
  constructor(
    connection: Connection,
    pressure: PublishBackpressure,
    { confirmed, refusals }: { readonly confirmed: ConfirmPublisher; readonly refusals: Refusals },
  ) {
    this.#connection = connection;
    this.#pressure = pressure;
    this.#confirmed = confirmed;
    this.#refusals = refusals;
  }

  async open(): Promise<void> {
    const channel = await this.#connection.channel();
    channel.on("drain", () => this.#written());
    channel.on("error", (error: unknown) => {
      const { about, why } = refusalOfPublish(error, [ANY_REPLY]);
      if (about !== undefined) this.#refusals.note(about, why);
    });
    channel.on("close", () => {
      this.#written();
      this.#channel = undefined;
      // Without a channel no call could be answered any more, so a new connection is better.
      if (this.#connection.open)
        this.open().catch((error: unknown) => this.#connection.giveUp(error as Error));
    });
    this.#channel = channel;
    const held = this.#held;
    this.#held = [];
    this.#heldBytes = 0;
    for (const { queue, message, failed, bytes } of held) {
      this.#pressure.remove(bytes);
      this.post(queue, message, failed);
    }
  }

  post(queue: string, message: Message, failed?: PublishSettled): void {
    if (bodyLength(message) > SMALL_BYTES) {
      this.#confirmed.publish({ exchange: "", key: queue }, message, (failure, why) => {
        if (failure === "too-large" || failure === "invalid") failed?.(failure, why);
      });
      return;
    }
    const channel = this.#channel;
    if (channel === undefined) {
      this.#hold(queue, message, failed);
      return;
    }
    const body = asBuffer(message.body);
    try {
      if (channel.publish("", queue, body, message.properties as object)) return;
      this.#unwritten.push(body.length);
      this.#pressure.add(body.length);
    } catch (error) {
      // If the channel is gone, it also emits 'close'. Any other error concerns only this message.
      if (isClosed(error)) this.#hold(queue, message, failed);
      else if (failed !== undefined) setImmediate(failed, "invalid", unwritable(error));
    }
  }

  // Holds a reply until the channel is open again. If the connection is gone, the reply is dropped, because nobody waits for it
  // any more.
  #hold(queue: string, message: Message, failed: Held["failed"]): void {
    const bytes = bodyLength(message);
    if (!this.#connection.open || this.#heldBytes + bytes > MOST_HELD_BYTES) return;
    this.#held.push({ queue, message, failed, bytes });
    this.#heldBytes += bytes;
    this.#pressure.add(bytes);
  }

  #written(): void {
    for (const bytes of this.#unwritten.splice(0)) this.#pressure.remove(bytes);
  }
}
