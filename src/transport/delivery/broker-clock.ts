/**
 * The broker's clock. RabbitMQ writes down when a message left a delay queue, and on no other occasion what time it is. So how
 * long ago that was is found by having another message die: the clocks of hosts are never compared.
 */

import { withinMs } from "../../async/abort.ts";
import { leftAt } from "../../protocol/left-at.ts";
import type { AmqpClient, Consumer, QueueArguments } from "../amqp-client.ts";

const ASK_MS = 2_000;
/** For how long an answer counts: clocks are set now and then. */
const KNOWN_MS = 600_000;
/** When it could not be read, it is not asked again for so long. */
const AGAIN_MS = 60_000;

interface Reading {
  readonly client: AmqpClient;
  /** On the broker's clock. */
  readonly seconds: number;
  /** On the monotonic clock here. */
  readonly at: number;
}

/** Tells how long ago something was by the broker's clock. */
export class BrokerClock {
  #reading: Reading | undefined;
  #asking: Promise<Reading | undefined> | undefined;
  #failed: { readonly client: AmqpClient; readonly at: number } | undefined;

  /**
   * How long ago a second of the broker's clock was, in milliseconds, and not more: its clock is read in whole seconds.
   * 0 if it cannot be read. Never rejects.
   */
  async since(seconds: number, client: AmqpClient): Promise<number> {
    if (this.#failed?.client === client && performance.now() - this.#failed.at < AGAIN_MS) return 0;
    const reading = this.#current(client) ?? (await this.#ask(client));
    if (reading === undefined) return 0;
    const elapsedMs = performance.now() - reading.at;
    return Math.max(0, (reading.seconds - seconds - 1) * 1_000 + elapsedMs);
  }

  #current(client: AmqpClient): Reading | undefined {
    const reading = this.#reading;
    return reading?.client === client && performance.now() - reading.at < KNOWN_MS ? reading : undefined;
  }

  // Once for all that come meanwhile.
  #ask(client: AmqpClient): Promise<Reading | undefined> {
    this.#asking ??= withinMs(ASK_MS, read(client), () => new Error("no answer"))
      .then((reading) => {
        this.#reading = reading;
        return reading;
      })
      .catch(() => {
        this.#failed = { client, at: performance.now() };
        return undefined;
      })
      .finally(() => {
        this.#asking = undefined;
      });
    return this.#asking;
  }
}

// Two queues of this connection alone: a message dies in the one at once, and comes out of the other.
async function read(client: AmqpClient): Promise<Reading> {
  const type = { "x-queue-type": "classic" } as const;
  const queues: string[] = [];
  const declare = async (args: QueueArguments): Promise<string> => {
    const queue = await client.declareQueue({ name: "", exclusive: true, arguments: { ...type, ...args } });
    queues.push(queue);
    return queue;
  };
  let come: (reading: Reading) => void = () => undefined;
  let fail: (error: unknown) => void = () => undefined;
  const came = new Promise<Reading>((resolve, reject) => {
    come = resolve;
    fail = reject;
  });
  came.catch(() => undefined);
  let consumer: Consumer | undefined;
  try {
    const answers = await declare({});
    const toAnswers = { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": answers };
    const dying = await declare({ "x-message-ttl": 0, ...toAnswers });
    consumer = await client.consume({
      queue: answers,
      prefetch: "no-ack",
      onDelivery: ({ message }) => {
        const seconds = leftAt(message);
        if (seconds === undefined) fail(new Error("no time"));
        else come({ client, seconds, at: performance.now() });
      },
      onCancelled: fail,
    });
    client.publish({ exchange: "", key: dying }, { body: new Uint8Array(0), properties: {} }, (failure) => {
      if (failure !== undefined) fail(new Error(failure));
    });
    return await withinMs(ASK_MS, came, () => new Error("no answer"));
  } finally {
    void Promise.allSettled([consumer?.close(), ...queues.map((queue) => client.deleteQueue(queue))]);
  }
}
