import { ConfluoError, invalidArgument } from "../../errors.ts";
import type { Message } from "../../protocol/message.ts";
import type { AmqpClient } from "../amqp-client.ts";
import { EmbeddedClient } from "./embedded-client.ts";
import { TurnLoop } from "./turn-loop.ts";
import { VirtualHost } from "./virtual-host.ts";

/** Options of an {@link EmbeddedBroker}. */
export interface EmbeddedBrokerOptions {
  /** Largest body taken, in bytes; a larger one is `too-large`. Default: 16 MiB, as RabbitMQ 4. */
  readonly maxMessageBytes?: number;
}

/** A queue of an {@link EmbeddedBroker}, as it stands. */
export interface QueueState {
  readonly name: string;
  /** Ready to be delivered. */
  readonly messages: number;
  /** Delivered and not yet settled. */
  readonly unacked: number;
  readonly consumers: number;
}

/**
 * RabbitMQ's semantics inside this process: what a {@link AmqpClient} can ask for, and nothing else. Nothing is kept when
 * the process ends. Each broker is a world of its own.
 */
export class EmbeddedBroker {
  readonly #host: VirtualHost;
  readonly #turns = new TurnLoop();

  /** @throws `INVALID_ARGUMENT` for a `maxMessageBytes` that is not a whole number above 0. */
  constructor(options: EmbeddedBrokerOptions = {}) {
    const { maxMessageBytes = 16 * 1024 * 1024 } = options;
    if (!Number.isSafeInteger(maxMessageBytes) || maxMessageBytes < 1) {
      throw invalidArgument("maxMessageBytes", "a whole number of bytes above 0", maxMessageBytes);
    }
    this.#host = new VirtualHost(maxMessageBytes);
  }

  connect(): AmqpClient {
    return new EmbeddedClient(this.#host, this.#turns);
  }

  /** Breaks a client as a killed connection does; its `lost` resolves with `CONNECTION_LOST` and this reason. */
  disconnect(client: AmqpClient, reason = "The connection was cut."): void {
    if (!(client instanceof EmbeddedClient))
      throw invalidArgument("wire", "a wire of an embedded broker", client);
    client.disconnect(new ConfluoError("CONNECTION_LOST", reason));
  }

  queues(): QueueState[] {
    return Array.from(this.#host.queues(), ({ name, depth, unacked, consumerCount }) => {
      return { name, messages: depth, unacked, consumers: consumerCount };
    });
  }

  /** Deletes a queue with all its messages; its consumers are cancelled. @returns whether there was one. */
  deleteQueue(name: string): boolean {
    return this.#host.deleteQueue(name);
  }

  /**
   * Takes the message at the head of a queue out for good, or `undefined` from an empty one.
   *
   * @throws `UNAVAILABLE` if there is no such queue.
   */
  take(queue: string): Message | undefined {
    return this.#host.getQueue(queue).take()?.message;
  }
}
