/** Publishes a message that waits at the broker before it reaches the inbox of a service. */

import { ConfluoError, isConfluoError } from "../../errors.ts";
import { header } from "../../protocol/codec.ts";
import { delayRoute, passOf } from "../../protocol/delays.ts";
import type { Message } from "../../protocol/message.ts";
import type { AmqpClient, Route } from "../amqp-client.ts";
import type { SessionLevels } from "../queues/delay-levels.ts";
import type { DelayedDelivery, Rejection } from "../transport.ts";
import type { SessionConnection } from "./connection-slot.ts";

/** A delayed message, with its destination. */
interface Delayed extends DelayedDelivery {
  readonly message: Message;
}

/** The end of a publish; without a rejection if the broker took responsibility. */
interface PublishEnd {
  readonly rejection?: Rejection;
  readonly why?: ConfluoError;
}

const lost: PublishEnd = { rejection: "lost" };

/**
 * Publishes the message. A command is refused if the inbox does not exist: it would be an orphan when it is due. Never rejects.
 */
export async function publishDelayed(
  { client, namespace, levels: declared }: SessionConnection,
  levels: Pick<SessionLevels, "use">,
  { service, waitMs, message }: Delayed,
): Promise<PublishEnd> {
  if (client === undefined) return lost;
  const inbox = namespace.inbox(service);
  try {
    if (!(await declared.isThere(client, inbox))) return { rejection: "returned" };
    const { quarters, restMs } = passOf(waitMs);
    const route = delayRoute(namespace, quarters, inbox);
    const waiting = restMs === 0 ? message : withWait(message, restMs);
    await levels.use(client, quarters);
    const first = await publish(client, route, waiting);
    if (!isRepairable(first)) return first;
    // Somebody has deleted the level since it was declared.
    declared.forget();
    await levels.use(client, quarters);
    const second = await publish(client, route, waiting);
    return second.rejection === "returned" ? { ...second, rejection: "refused" } : second;
  } catch (error) {
    return endOf(error);
  }
}

function withWait({ body, properties }: Message, restMs: number): Message {
  return {
    body,
    properties: { ...properties, headers: { ...properties.headers, [header.wait]: String(restMs) } },
  };
}

function isRepairable({ rejection, why }: PublishEnd): boolean {
  return rejection === "returned" || (rejection === "refused" && why !== undefined);
}

function publish(client: AmqpClient, route: Route, message: Message): Promise<PublishEnd> {
  return new Promise((resolve) => {
    client.publish(route, message, (rejection, why) =>
      resolve({ ...(rejection === undefined ? {} : { rejection }), ...(why === undefined ? {} : { why }) }),
    );
  });
}

// A level could not be declared.
function endOf(error: unknown): PublishEnd {
  if (!isConfluoError(error)) {
    const why = new ConfluoError("UNAVAILABLE", "its delay queues could not be declared", { cause: error });
    return { rejection: "refused", why };
  }
  if (isConfluoError(error, "CONNECTION_LOST")) return lost;
  return { rejection: isConfluoError(error, "ACCESS_REFUSED") ? "forbidden" : "refused", why: error };
}
