/** The `x-death` header that RabbitMQ adds to a message that is dead-lettered. */

import type { Message } from "../../protocol/message.ts";

/**
 * The reason why a message was dead-lettered. (`rejected` needs a reject without requeue, which `AmqpClient` does not have.)
 */
export type DeathReason = "expired" | "maxlen" | "delivery_limit";

/** One dead-lettering. Each happens once, because a queue in which a message died never gets it again. */
export interface DeathRecord {
  readonly queue: string;
  readonly reason: DeathReason;
  readonly exchange: string;
  readonly key: string;
  readonly atSeconds: number;
  readonly expiration: string | undefined;
}

/** The queue in which a message died, and the reason. */
export interface DeathCause {
  readonly queue: string;
  readonly reason: DeathReason;
  readonly exchange: string;
  readonly key: string;
  readonly nowMs: number;
}

/** A message that was dead-lettered, with all its deaths; the last one comes first. */
export interface DeadLetteredMessage {
  readonly message: Message;
  readonly deaths: readonly [DeathRecord, ...DeathRecord[]];
}

/**
 * Returns a copy without expiration and with `x-death`. That header is built from the broker's own records; one from the
 * publisher is ignored.
 */
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
    // A timestamp in the form in which amqplib decodes it.
    time: { "!": "timestamp", value: death.atSeconds },
    exchange: death.exchange,
    "routing-keys": [death.key],
    ...(death.expiration === undefined ? {} : { "original-expiration": death.expiration }),
  };
}
