/** Where spans come from, and how they fail. */

import { type Span, SpanStatusCode, type Tracer, trace } from "@opentelemetry/api";
import { CONFLUO_VERSION } from "../core/identity.ts";
import { describeThrown } from "../errors.ts";
import { errorType } from "./attributes.ts";

/** Asked for each span: an SDK may be replaced by another. */
export function tracer(): Tracer {
  return trace.getTracer("confluo", CONFLUO_VERSION);
}

/** Marks a span as failed, for the reason given. */
export function markFailed(span: Span, error: unknown): void {
  const { name, message, stack } = describeThrown(error);
  span.setAttribute("error.type", errorType(error));
  span.setStatus({ code: SpanStatusCode.ERROR, message });
  span.recordException({ name, message, stack });
}
