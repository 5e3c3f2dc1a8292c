import { ConfluoError, invalidArgument } from "../../errors.ts";
import type { Message } from "../../protocol/message.ts";
import type { AmqpClient } from "../amqp-client.ts";
import { EmbeddedClient } from "./embedded-client.ts";
import { TurnLoop } from "./turn-loop.ts";
import { VirtualHost } from "./virtual-host.ts";

/** The options of an {@link EmbeddedBroker}. */
export interface EmbeddedBrokerOptions {
  /** The largest body that is accepted, in bytes; a larger one is `too-large`. Default: 16 MiB, as in RabbitMQ 4. */
  readonly maxMessageBytes?: number;
}

/** The current state of a queue of an {@link EmbeddedBroker}. */
export interface QueueState {
  readonly name: string;
  /** The number of messages that wait to be delivered. */
  readonly messages: number;
  /** The number of messages that are delivered and not settled. */
  readonly unacked: number;
  readonly consumers: number;
}

/**
 * A broker inside this process, with RabbitMQ's semantics for everything that an {@link AmqpClient} can request. It stores
 * nothing when the process ends. Brokers share nothing with each other.
 */
export class EmbeddedBroker {
  readonly #host: VirtualHost;
  readonly #turns = new TurnLoop();

  /** @throws `INVALID_ARGUMENT` if `maxMessageBytes` is not a whole number above 0. */
  constructor(options: EmbeddedBrokerOptions = {}) {
    const { maxMessageBytes = 16 * 1024 * 1024 } = options;
    if (!Number.isSafeInteger(maxMessageBytes) || maxMessageBytes < 1) {
      throw invalidArgument("maxMessageBytes", "a whole number of bytes above 0", maxMessageBytes);
    }
    this.#host = new VirtualHost(maxMessageBytes);
  }

  /** Opens a client of this broker. */
  connect(): AmqpClient {
    return new EmbeddedClient(this.#host, this.#turns);
  }

  /** Breaks a client as a killed connection does. Its `lost` resolves with `CONNECTION_LOST` and this reason. */
  disconnect(client: AmqpClient, reason = "The connection was cut."): void {
    if (!(client instanceof EmbeddedClient))
      throw invalidArgument("client", "a client of an embedded broker", client);
    client.disconnect(new ConfluoError("CONNECTION_LOST", reason));
  }

  /** Returns the current state of all queues. */
  queues(): QueueState[] {
    return Array.from(this.#host.queues(), ({ name, depth, unacked, consumerCount }) => {
      return { name, messages: depth, unacked, consumers: consumerCount };
    });
  }

  /** Deletes a queue with all its messages, and cancels its consumers. Returns whether the queue existed. */
  deleteQueue(name: string): boolean {
    return this.#host.deleteQueue(name);
  }

  /**
   * Removes and returns the message at the head of a queue; `undefined` if the queue is empty.
   *
   * @throws `UNAVAILABLE` if there is no such queue.
   */
  take(queue: string): Message | undefined {
    return this.#host.getQueue(queue).take()?.message;
  }
}
