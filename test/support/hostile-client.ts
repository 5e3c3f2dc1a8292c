/** An AMQP client that shares no code with confluo and keeps to no rule but RabbitMQ's. */

import { randomBytes } from "node:crypto";
import { type ChannelModel, type ConfirmChannel, type ConsumeMessage, connect, type Options } from "amqplib";
import { testBrokerUrl } from "./rabbitmq.ts";

/** What amqplib writes for `marker` is replaced by `bytes`, of the same length, from `offset` on. */
interface Replacement {
  readonly marker: Buffer;
  readonly bytes: Buffer;
  readonly offset: number;
}

// Kept here since messages are made before there is a client.
const replacements = new Map<string, Replacement>();

/** A text that goes out as these bytes, six or more, which need not be UTF-8. */
export function rawText(bytes: Uint8Array): string {
  return marked(Buffer.from(bytes), 0).marker.toString("latin1");
}

/** Headers that go out as these bytes: the content of a field table, 16 bytes or more. */
export function rawHeaders(table: Uint8Array): Record<string, Buffer> {
  // An empty name, the type `x` and a length come before the value.
  return { "": marked(Buffer.from(table), -6).marker };
}

function marked(bytes: Buffer, offset: number): Replacement {
  const text = randomBytes(bytes.length)
    .toString("hex")
    .slice(0, bytes.length + offset);
  const replacement = { marker: Buffer.from(text), bytes, offset };
  replacements.set(text.slice(0, 12), replacement);
  return replacement;
}

/** A connection and a confirm channel that is opened anew when RabbitMQ closes it. */
export class HostileClient {
  readonly #connection: ChannelModel;
  readonly #onAnswer: (answer: ConsumeMessage) => void;
  #channel: Promise<ConfirmChannel>;
  answers = "";

  private constructor(connection: ChannelModel, onAnswer: (answer: ConsumeMessage) => void) {
    this.#connection = connection;
    this.#onAnswer = onAnswer;
    this.#channel = this.#open();
  }

  static async open(onAnswer: (answer: ConsumeMessage) => void = () => undefined): Promise<HostileClient> {
    const connection = await connect(testBrokerUrl());
    connection.on("error", () => undefined);
    const { stream } = connection.connection as unknown as {
      readonly stream: { write(...all: unknown[]): boolean };
    };
    const write = stream.write.bind(stream);
    stream.write = (chunk, ...rest) => write(Buffer.isBuffer(chunk) ? replaced(chunk) : chunk, ...rest);
    const client = new HostileClient(connection, onAnswer);
    const channel = await connection.createChannel();
    client.answers = (await channel.assertQueue("", { exclusive: true })).queue;
    await channel.consume(client.answers, (answer) => answer && client.#onAnswer(answer), { noAck: true });
    return client;
  }

  async #open(): Promise<ConfirmChannel> {
    const channel = await this.#connection.createConfirmChannel();
    channel.on("error", () => {
      this.#channel = this.#open();
      this.#channel.catch(() => undefined); // the next publish tells
    });
    return channel;
  }

  /** Resolves with what RabbitMQ made of it. */
  async publish(
    exchange: string,
    key: string,
    body: Uint8Array,
    options: Options.Publish,
  ): Promise<"taken" | "refused"> {
    const channel = await this.#channel;
    return new Promise((resolve) => {
      channel.publish(exchange, key, Buffer.from(body), options, (error: unknown) =>
        resolve(error === null || error === undefined ? "taken" : "refused"),
      );
    });
  }

  /** A channel to declare and consume with; closed with the client. */
  channel(): Promise<ConfirmChannel> {
    return this.#connection.createConfirmChannel();
  }

  async close(): Promise<void> {
    await this.#channel;
    await this.#connection.close();
  }
}

function replaced(chunk: Buffer): Buffer {
  for (const { marker, bytes, offset } of replacements.values()) {
    for (let at = chunk.indexOf(marker); at !== -1; at = chunk.indexOf(marker, at))
      bytes.copy(chunk, at + offset);
  }
  return chunk;
}
