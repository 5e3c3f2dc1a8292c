/** Makes a span for each outgoing message, and adds its context to the message's headers. */

import type { Span } from "@opentelemetry/api";
import type { OutgoingMessage } from "../diagnostics.ts";
import { nameOf, outgoingAttributes, outgoingKinds } from "./attributes.ts";
import { markFailed, type OpenTelemetry, tracer } from "./tracer.ts";

const headers = {
  // If there is no room for the header, the message is sent without it, and the receiver starts a new trace.
  set: (message: OutgoingMessage, name: string, value: string): void => void message.setHeader(name, value),
};

/** Starts and ends the spans. */
export class OutgoingSpans {
  readonly #api: OpenTelemetry;
  readonly #spans = new WeakMap<OutgoingMessage, Span>();

  constructor(api: OpenTelemetry) {
    this.#api = api;
  }

  start(message: OutgoingMessage): void {
    const { context, propagation, SpanKind, trace } = this.#api;
    const kinds = outgoingKinds(message);
    const active = context.active();
    const span = tracer(this.#api).startSpan(
      nameOf(kinds),
      {
        // The span of a call lasts until its answer, any other span until the broker's confirm.
        kind: message.kind === "call" ? SpanKind.CLIENT : SpanKind.PRODUCER,
        attributes: { ...kinds, ...outgoingAttributes(message) },
      },
      active,
    );
    this.#spans.set(message, span);
    propagation.inject(trace.setSpan(active, span), message, headers);
  }

  fail(message: OutgoingMessage): void {
    const span = this.#spans.get(message);
    if (span !== undefined) markFailed(this.#api, span, message.error);
  }

  end(message: OutgoingMessage): void {
    this.#spans.get(message)?.end();
  }
}
