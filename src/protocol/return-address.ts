/** Where an answer goes: one check for all that was received and is written back. */

import { fitsShortString } from "./address.ts";
import type { Properties } from "./message.ts";

/** RabbitMQ closes the connection of a client that publishes to a forged one of these. */
const DIRECT_REPLY_TO = "amq.rabbitmq.reply-to";

/** Whether a `reply_to` names RabbitMQ's direct reply-to instead of a queue. */
export function isDirectReplyTo(replyTo: string): boolean {
  return replyTo.startsWith(DIRECT_REPLY_TO);
}

// An answer that lands in one of these would be handled as a command, dead-lettered or passed on, in any namespace.
const SERVICE_QUEUE = /^[^.]+\.(?:[^.]+\.(?:calls|inbox|dead)(?:\.again|\.batch)?|orphans|delay\.\d+)$/;

/**
 * Why the sender of a message cannot be answered, in words that follow 'it cannot be answered: '; `undefined` if it can be.
 * A text that is no UTF-8 cannot be written back, and the queue of a service would take the answer for work.
 */
export function whyNoReturn({ replyTo, correlationId }: Properties): string | undefined {
  if (typeof replyTo !== "string" || replyTo === "") return "it names no reply_to";
  if (!fitsShortString(replyTo)) return "its reply_to is not UTF-8";
  if (typeof correlationId === "string" && !fitsShortString(correlationId))
    return "its correlation_id is not UTF-8";
  // Queues that RabbitMQ named are most of them.
  if (!replyTo.startsWith("amq.") && SERVICE_QUEUE.test(replyTo))
    return "its reply_to is the queue of a service, which would take the answer for work";
  return undefined;
}
