/** A span for each message that goes out, whose context travels in the message's headers. */

import type { Span } from "@opentelemetry/api";
import type { OutgoingMessage } from "../diagnostics.ts";
import { nameOf, outgoingAttributes, outgoingKinds } from "./attributes.ts";
import { markFailed, type OpenTelemetry, tracer } from "./tracer.ts";

const headers = {
  // One for which there is no room is left out: then its receiver begins a trace of its own.
  set: (message: OutgoingMessage, name: string, value: string): void => void message.setHeader(name, value),
};

/** Begins and ends them. */
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
        // A call lasts until its answer, the others until the broker has them.
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
