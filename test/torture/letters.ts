/** Takes out of a queue whatever lies in it: dead letters, and what nobody has handled. */

import type { AmqpClient } from "../../src/index.ts";
import type { Question } from "./traffic.ts";

/** A message that was found. */
export interface Letter {
  /** Undefined if the body is not one of ours. */
  readonly id: string | undefined;
  /** `confluo-error`, or RabbitMQ's reason, or nothing. */
  readonly code: string;
  /** The routing key that it was published with: of what waits for another try, the queue that it returns to. */
  readonly key: string;
  /** When the service gave it up, in milliseconds since 1970; undefined if nothing says so. */
  readonly failedAt: number | undefined;
}

export interface Reading {
  /** What came since the last time. */
  take(): readonly Letter[];
  close(): Promise<void>;
}

/** Takes messages out from now on. */
export async function readQueue(client: AmqpClient, queue: string): Promise<Reading> {
  let letters: Letter[] = [];
  const consumer = await client.consume({
    queue,
    prefetch: 500,
    onDelivery: (delivery) => {
      const { body, properties } = delivery.message;
      const { headers = {} } = properties;
      const reason = headers["confluo-error"] ?? headers["x-first-death-reason"] ?? "none";
      const failedAt = Date.parse(String(headers["confluo-failed-at"]));
      letters.push({
        id: readIdentity(body),
        code: String(reason),
        key: delivery.key,
        failedAt: Number.isNaN(failedAt) ? undefined : failedAt,
      });
      delivery.ack();
    },
    onCancelled: () => undefined,
  });
  return {
    take() {
      const taken = letters;
      letters = [];
      return taken;
    },
    close: () => consumer.cancel(),
  };
}

function readIdentity(body: Uint8Array): string | undefined {
  try {
    return (JSON.parse(Buffer.from(body).toString("utf8")) as Question).id;
  } catch {
    return undefined;
  }
}
