/** How a message is published again: into the dead-letter queue, later round a delay level or back from the dead. */

import { header, userHeaders } from "./codec.ts";
import type { Message, Properties } from "./message.ts";
import type { Origin } from "./origin.ts";

/**
 * A durable copy. Goes by an allowlist: body, content type, message id and application headers. Everything else that a
 * foreign sender or the broker put there is left behind: `CC` and `BCC` would deliver copies elsewhere, `x-death` makes
 * RabbitMQ 3.10 drop the message as a cycle, `user_id` is refused from another user, `expiration` would cut the new wait
 * short.
 */
export function republished(
  message: Message,
  origin: Origin,
  added: Readonly<Record<string, string>>,
): Message {
  const headers: Record<string, string> = {
    ...userHeaders(message.properties.headers),
    [header.kind]: origin.kind,
    [header.path]: origin.path,
    [header.attempt]: String(origin.attempt),
    ...added,
  };
  if (origin.from !== "") headers[header.from] = origin.from;
  if (origin.query !== "") headers[header.query] = origin.query;
  const { contentType } = message.properties;
  const properties: Properties = {
    ...(typeof contentType === "string" ? { contentType } : {}),
    messageId: origin.messageId,
    deliveryMode: 2,
    mandatory: true,
    headers,
  };
  return { body: message.body, properties };
}
