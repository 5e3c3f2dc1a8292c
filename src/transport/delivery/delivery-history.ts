/** What is known of a message's past, from how it came. */

import type { WireHeaders } from "../../protocol/message.ts";
import type { DeliveryHistory, Lane } from "../transport.ts";

// From RabbitMQ 4.3 on, a quorum queue counts apart how often a message was given to somebody, and how often that one was lost
// with it. Older brokers count both as one: there a look passes for a death.
export function wasOnlyLookedAt(headers: WireHeaders | undefined): boolean {
  return headers?.["x-acquired-count"] !== undefined && headers["x-delivery-count"] === undefined;
}

// An instance's own copies are gone with it: what comes again was given back.
export function recordOf(
  { lane, alone }: { readonly lane: Lane; readonly alone: boolean },
  isMarked: boolean,
  deaths: number,
): DeliveryHistory {
  if (lane === "instance") return "first";
  if (alone) return isMarked ? "isolated-redelivered" : "isolated";
  if (isMarked) return "redelivered";
  return lane === "inbox" && deaths > 0 ? "isolated" : "first";
}
