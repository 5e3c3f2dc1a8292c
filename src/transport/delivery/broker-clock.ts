/**
 * The broker's clock. RabbitMQ records the time only when a message is dead-lettered, as when it leaves a delay queue. To learn
 * how long ago that was, confluo lets another message expire now and compares the two times. Both are the broker's, because the
 * clocks of different hosts are never compared.
 */

import { withinMs } from "../../async/abort.ts";
import { leftAt } from "../../protocol/left-at.ts";
import type { AmqpClient, Consumer, QueueArguments } from "../amqp-client.ts";

/** How long to wait for the broker's answer, in milliseconds. */
const ASK_MS = 2_000;
/** How long a reading of the clock is used, in milliseconds. It is limited because clocks are set occasionally. */
const KNOWN_MS = 600_000;
/** After a failed reading, the time before the next one, in milliseconds. */
const AGAIN_MS = 60_000;

interface Reading {
  readonly client: AmqpClient;
  /** The broker's time, in seconds. */
  readonly seconds: number;
  /** The time of this process at the reading, in milliseconds on the monotonic clock. */
  readonly at: number;
}

/** Measures how long ago something happened by the broker's clock. */
export class BrokerClock {
  #reading: Reading | undefined;
  #asking: Promise<Reading | undefined> | undefined;
  #failed: { readonly client: AmqpClient; readonly at: number } | undefined;

  /**
   * Returns how long ago a second of the broker's clock was, in milliseconds. The result is a lower bound, because the clock is
   * read in whole seconds. 0 if the clock cannot be read. Never rejects.
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

  // All requests in the meantime share one reading.
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

// Uses two queues of this connection alone. A message expires in the first at once, and the broker dead-letters it to the
// second.
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
