/** The `x-death` story that RabbitMQ writes on a message that leaves a queue without having been taken. */

import type { Message } from "../../protocol/message.ts";

/** Why a message left its queue. (`rejected` needs a reject without requeue, which `AmqpClient` does not have.) */
export type DeathReason = "expired" | "maxlen" | "delivery_limit";

/** One dead-lettering. A queue that a message died in never gets it again, so that each happens once. */
export interface DeathRecord {
  readonly queue: string;
  readonly reason: DeathReason;
  readonly exchange: string;
  readonly key: string;
  readonly atSeconds: number;
  readonly expiration: string | undefined;
}

/** The queue and the reason of a message that died. */
export interface DeathCause {
  readonly queue: string;
  readonly reason: DeathReason;
  readonly exchange: string;
  readonly key: string;
  readonly nowMs: number;
}

/** A message that has died, and all its deaths, the last one first. */
export interface DeadLetteredMessage {
  readonly message: Message;
  readonly deaths: readonly [DeathRecord, ...DeathRecord[]];
}

/** A copy that has lost its expiration and carries its story. The broker's memory counts, not a publisher's `x-death`. */
export function recordDeath(
  message: Message,
  earlier: readonly DeathRecord[],
  cause: DeathCause,
): DeadLetteredMessage {
  const { expiration, ...properties } = message.properties;
  const { nowMs, ...where } = cause;
  const last: DeathRecord = { ...where, atSeconds: Math.floor(nowMs / 1000), expiration };
  const first = earlier.at(-1) ?? last;
  const deaths: [DeathRecord, ...DeathRecord[]] = [last, ...earlier];
  const headers = {
    ...properties.headers,
    "x-death": deaths.map(tableOf),
    "x-first-death-exchange": first.exchange,
    "x-first-death-queue": first.queue,
    "x-first-death-reason": first.reason,
    "x-last-death-exchange": last.exchange,
    "x-last-death-queue": last.queue,
    "x-last-death-reason": last.reason,
  };
  return { message: { body: message.body, properties: { ...properties, headers } }, deaths };
}

function tableOf(death: DeathRecord): Readonly<Record<string, unknown>> {
  return {
    count: 1,
    reason: death.reason,
    queue: death.queue,
    // A timestamp as amqplib decodes it.
    time: { "!": "timestamp", value: death.atSeconds },
    exchange: death.exchange,
    "routing-keys": [death.key],
    ...(death.expiration === undefined ? {} : { "original-expiration": death.expiration }),
  };
}
