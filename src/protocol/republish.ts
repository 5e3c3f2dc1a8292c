/** How a message is published again: into the dead-letter queue, later round a delay level or back from the dead. */

import { fitsShortString } from "./address.ts";
import { header, headerBytes, userHeaders } from "./codec.ts";
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
  const optional: readonly (readonly [string, string])[] = [
    [header.from, origin.from],
    [header.query, origin.query],
  ];
  const headers = fitting([
    [header.kind, origin.kind],
    [header.path, origin.path],
    [header.attempt, String(origin.attempt)],
    ...Object.entries(added),
    ...optional.filter(([, value]) => value !== ""),
    ...Object.entries(userHeaders(message.properties.headers)),
  ]);
  const { contentType } = message.properties;
  const properties: Properties = {
    ...(typeof contentType === "string" && fitsShortString(contentType) ? { contentType } : {}),
    messageId: origin.messageId,
    deliveryMode: 2,
    mandatory: true,
    headers,
  };
  return { body: message.body, properties };
}

// AMQP clients encode all properties into 64 KiB. What a foreign sender wrote may leave no room for the story: then it is
// the sender's headers that go, from the last one on, and never the message.
const TABLE_BYTES = 48 * 1024;

function fitting(entries: readonly (readonly [string, string])[]): Record<string, string> {
  let left = TABLE_BYTES;
  const kept = entries.filter(([name, value]) => {
    const bytes = headerBytes(name, value);
    if (!fitsShortString(name) || bytes > left) return false;
    left -= bytes;
    return true;
  });
  return Object.fromEntries(kept);
}
