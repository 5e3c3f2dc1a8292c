/** Confirmed publishing on a channel of its own, which is opened anew when the broker closes it. */

import type { Message as AmqpMessage, ConfirmChannel } from "amqplib";
import type { Message, Properties } from "../../protocol/message.ts";
import type { PublishSettled, Route } from "../wire.ts";
import type { Connection } from "./connection.ts";
import { isClosed, sizeLimitIn, unwritable } from "./failure.ts";
import type { Pressure } from "./pressure.ts";

interface Waiting {
  readonly route: Route;
  readonly body: Buffer;
  readonly properties: Properties;
  readonly settled: PublishSettled;
}

type Closed = { readonly tooLargeOver: number } | "refused" | undefined;

/** Publishes are pipelined and each is settled once. */
export class Publisher {
  readonly #connection: Connection;
  readonly #pressure: Pressure;
  #channel: ConfirmChannel | undefined;
  /** What waits for the channel to open. */
  #queue: Waiting[] = [];
  readonly #returned = new Map<string, number>();
  // Learned from the broker when it refuses a message; what may be sent at all is decided above.
  #maxBytes = Number.POSITIVE_INFINITY;

  constructor(connection: Connection, pressure: Pressure) {
    this.#connection = connection;
    this.#pressure = pressure;
  }

  async open(): Promise<void> {
    const channel = await this.#connection.confirmChannel();
    let closedBecause: Closed;
    channel.on("return", ({ fields, properties }: AmqpMessage) => {
      const id = identity(fields.exchange, fields.routingKey, properties);
      this.#returned.set(id, (this.#returned.get(id) ?? 0) + 1);
    });
    channel.on("error", (error: unknown) => {
      const limit = sizeLimitIn(error);
      closedBecause = limit === undefined ? "refused" : { tooLargeOver: limit };
    });
    channel.on("close", () => {
      if (this.#channel !== channel) return;
      this.#channel = undefined;
      this.#returned.clear();
      if (typeof closedBecause === "object")
        this.#maxBytes = Math.min(this.#maxBytes, closedBecause.tooLargeOver);
      if (this.#connection.open) this.open().catch(() => this.#abandon());
      else this.#abandon();
    });
    this.#channel = channel;
    this.#closedBecause = () => closedBecause;
    const queue = this.#queue;
    this.#queue = [];
    for (const waiting of queue) this.#write(channel, waiting);
  }

  publish(route: Route, message: Message, settled: PublishSettled): void {
    const body = asBuffer(message.body);
    const waiting = { route, body, properties: message.properties, settled };
    if (body.length > this.#maxBytes) return void setImmediate(settled, "too-large");
    if (this.#channel !== undefined) this.#write(this.#channel, waiting);
    else if (this.#connection.open) this.#queue.push(waiting);
    else setImmediate(settled, "lost");
  }

  // Set by open(): why the present channel was closed, if it was.
  #closedBecause: () => Closed = () => undefined;

  #write(channel: ConfirmChannel, waiting: Waiting): void {
    const { route, body, properties, settled } = waiting;
    const closedBecause = this.#closedBecause;
    const { length } = body;
    this.#pressure.add(length);
    try {
      channel.publish(route.exchange, route.key, body, properties as object, (error: unknown) => {
        this.#pressure.remove(length);
        if (error === null || error === undefined) {
          settled(this.#takeReturn(route, properties) ? "returned" : undefined);
        } else if (isNack(error)) settled("refused");
        else this.#onChannelClosed(closedBecause(), waiting);
      });
    } catch (error) {
      this.#pressure.remove(length);
      // Nothing of it was written. A channel that is gone says so by its 'close'; anything else is this message's own.
      if (isClosed(error)) setImmediate(settled, "lost");
      else setImmediate(settled, "invalid", unwritable(error));
    }
  }

  #takeReturn({ exchange, key }: Route, properties: Properties): boolean {
    if (this.#returned.size === 0) return false;
    const id = identity(exchange, key, properties);
    const returns = this.#returned.get(id) ?? 0;
    if (returns > 1) this.#returned.set(id, returns - 1);
    else this.#returned.delete(id);
    return returns > 0;
  }

  // One message closed the channel for all: those that were not at fault are sent again.
  #onChannelClosed(because: Closed, waiting: Waiting): void {
    if (typeof because === "object") {
      if (waiting.body.length > because.tooLargeOver) waiting.settled("too-large");
      else if (this.#connection.open) this.#queue.push(waiting);
      else waiting.settled("lost");
    } else waiting.settled(because === "refused" ? "refused" : "lost");
  }

  #abandon(): void {
    const queue = this.#queue;
    this.#queue = [];
    for (const { settled } of queue) setImmediate(settled, "lost");
  }
}

// A return is matched to its confirm by the message's identity and where it went: every mandatory message has one, though
// two may have the same.
function identity(
  exchange: string,
  key: string,
  properties: { readonly messageId?: unknown; readonly correlationId?: unknown },
): string {
  return `${exchange} ${key} ${properties.messageId ?? properties.correlationId ?? ""}`;
}

function isNack(error: unknown): boolean {
  return error instanceof Error && error.message === "message nacked";
}

/** A view, not a copy: amqplib insists on its own kind of byte array. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
