/** What a line of the log says of the message that it is about. */

import { protocolHeader } from "../protocol/codec.ts";
import type { Delivery } from "../transport/transport.ts";

/** Fields of a line, beside the service's own. */
export interface MessageFields {
  readonly path: string;
  readonly messageId: string;
  readonly from: string;
  /** The trace and the span that it was sent in, if its sender says so by a `traceparent` header (W3C Trace Context). */
  readonly traceId?: string;
  readonly spanId?: string;
}

const TRACEPARENT = /^[\da-f]{2}-(?!0{32})([\da-f]{32})-(?!0{16})([\da-f]{16})-[\da-f]{2}(?:-|$)/;

/** The fields for a delivery. */
export function messageFields({ envelope, message }: Pick<Delivery, "envelope" | "message">): MessageFields {
  const { path, messageId, from } = envelope;
  const [, traceId, spanId] =
    TRACEPARENT.exec(protocolHeader(message.properties.headers, "traceparent") ?? "") ?? [];
  if (traceId === undefined || spanId === undefined) return { path, messageId, from };
  return { path, messageId, from, traceId, spanId };
}
