/**
 * Makes a span for each run of a handler, as a child of the span that sent the message. The handler runs in the span's context.
 */

import type { Context, Link, Span, SpanContext } from "@opentelemetry/api";
import type { HandledMessage } from "../diagnostics.ts";
import { describeThrown } from "../errors.ts";
import { errorType, handledAttributes, handledKinds, isFailedStatus, nameOf } from "./attributes.ts";
import { markFailed, type OpenTelemetry, tracer } from "./tracer.ts";

const headers = {
  get: ({ headers }: HandledMessage, name: string): string | undefined => headers[name],
  keys: ({ headers }: HandledMessage): string[] => Object.keys(headers),
};

/** Number of failed tries that are remembered, so that the span of a retry can link to them. */
const MOST_TRIES = 1_000;

/** Starts and ends the spans. */
export class HandledSpans {
  readonly #api: OpenTelemetry;
  readonly #spans = new WeakMap<HandledMessage, Span>();
  readonly #tries = new Map<string, SpanContext>();

  constructor(api: OpenTelemetry) {
    this.#api = api;
  }

  start(message: HandledMessage): void {
    const { context, SpanKind, trace } = this.#api;
    const kinds = handledKinds(message);
    const parent = sentIn(this.#api, message);
    const span = tracer(this.#api).startSpan(
      nameOf(kinds),
      {
        kind: message.kind === "call" ? SpanKind.SERVER : SpanKind.CONSUMER,
        attributes: { ...kinds, ...handledAttributes(message) },
        links: this.#earlier(message),
      },
      parent,
    );
    this.#spans.set(message, span);
    const inside = trace.setSpan(parent, span);
    message.runInside((run) => context.with(inside, run));
  }

  end(message: HandledMessage): void {
    const span = this.#spans.get(message);
    if (span === undefined) return;
    const { status } = message;
    if (isFailedStatus(message)) {
      span.setAttribute("error.type", String(status));
      span.setStatus({
        code: this.#api.SpanStatusCode.ERROR,
        message: `The handler replied with status ${status}.`,
      });
      this.#remember(message, span);
    }
    span.end();
  }

  fail(message: HandledMessage): void {
    const span = this.#spans.get(message);
    if (span === undefined) return;
    const { error } = message;
    const { ours } = describeThrown(error);
    // An error caused by the caller is not a failure of the service that reports it.
    if (message.kind === "call" && ours !== undefined && ours.status < 500)
      span.setAttribute("error.type", errorType(error));
    else markFailed(this.#api, span, error);
    this.#remember(message, span);
  }

  // A retried or redelivered message may have been tried by this instance before.
  #earlier(message: HandledMessage): Link[] {
    if (message.attempt === 1 && !message.redelivered) return [];
    const key = keyOf(message);
    const earlier = this.#tries.get(key);
    if (earlier === undefined) return [];
    this.#tries.delete(key);
    return [{ context: earlier }];
  }

  #remember(message: HandledMessage, span: Span): void {
    if (message.kind === "call") return;
    this.#tries.set(keyOf(message), span.spanContext());
    if (this.#tries.size <= MOST_TRIES) return;
    for (const oldest of this.#tries.keys()) {
      this.#tries.delete(oldest);
      return;
    }
  }
}

function keyOf({ service, pattern, messageId }: HandledMessage): string {
  return JSON.stringify([service, pattern, messageId]);
}

// The headers may be from a foreign sender, and any propagator may be installed; each may cause an error.
function sentIn({ propagation, ROOT_CONTEXT }: OpenTelemetry, message: HandledMessage): Context {
  try {
    return propagation.extract(ROOT_CONTEXT, message, headers);
  } catch {
    return ROOT_CONTEXT;
  }
}
