/** Returns the tracer, and marks spans as failed. */

import type { Span, Tracer } from "@opentelemetry/api";
import { describeThrown } from "../errors.ts";
import { CONFLUO_VERSION } from "../identity.ts";
import { errorType } from "./attributes.ts";

/**
 * The exports of `@opentelemetry/api`. They are passed from the only place that imports it, because a bundler would have to
 * resolve every further import, even of a constant.
 */
export type OpenTelemetry = typeof import("@opentelemetry/api");

/** Returns the tracer. Called for each span, because an SDK may be replaced by another. */
export function tracer({ trace }: OpenTelemetry): Tracer {
  return trace.getTracer("confluo", CONFLUO_VERSION);
}

/** Marks a span as failed with an error. */
export function markFailed({ SpanStatusCode }: OpenTelemetry, span: Span, error: unknown): void {
  const { name, message, stack } = describeThrown(error);
  span.setAttribute("error.type", errorType(error));
  span.setStatus({ code: SpanStatusCode.ERROR, message });
  span.recordException({ name, message, stack });
}
