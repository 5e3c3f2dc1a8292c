/** Where spans come from, and how they fail. */

import type { Span, Tracer } from "@opentelemetry/api";
import { describeThrown } from "../errors.ts";
import { CONFLUO_VERSION } from "../identity.ts";
import { errorType } from "./attributes.ts";

/**
 * The exports of `@opentelemetry/api`. Handed on from the one place that imports it: a second import, and be it of a constant,
 * would be one that a bundler has to find.
 */
export type OpenTelemetry = typeof import("@opentelemetry/api");

/** Asked for each span: an SDK may be replaced by another. */
export function tracer({ trace }: OpenTelemetry): Tracer {
  return trace.getTracer("confluo", CONFLUO_VERSION);
}

/** Marks a span as failed, for the reason given. */
export function markFailed({ SpanStatusCode }: OpenTelemetry, span: Span, error: unknown): void {
  const { name, message, stack } = describeThrown(error);
  span.setAttribute("error.type", errorType(error));
  span.setStatus({ code: SpanStatusCode.ERROR, message });
  span.recordException({ name, message, stack });
}
