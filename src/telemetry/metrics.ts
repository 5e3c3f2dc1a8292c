/** Counts messages and measures their durations, by OpenTelemetry's messaging conventions. */

import type { Counter, Histogram, MeterProvider } from "@opentelemetry/api";
import type { HandledMessage, OutgoingMessage } from "../diagnostics.ts";
import { CONFLUO_VERSION } from "../identity.ts";
import { errorType, handledKinds, isFailedStatus, type Kinds, outgoingKinds } from "./attributes.ts";
import type { OpenTelemetry } from "./tracer.ts";

/** In seconds, as the conventions recommend. */
const BOUNDARIES = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];

interface Instruments {
  readonly provider: MeterProvider;
  readonly sent: Counter;
  readonly consumed: Counter;
  readonly operation: Histogram;
  readonly process: Histogram;
}

/** A message that was sent or is being handled. */
interface Running {
  readonly began: number;
  readonly kinds: Kinds;
  error: string | undefined;
}

/** Records the metrics of messages. */
export class Metrics {
  readonly #api: OpenTelemetry;
  readonly #running = new WeakMap<OutgoingMessage | HandledMessage, Running>();
  #instruments: Instruments | undefined;

  constructor(api: OpenTelemetry) {
    this.#api = api;
  }

  send(message: OutgoingMessage): void {
    this.#begin(message, outgoingKinds(message));
  }

  handle(message: HandledMessage): void {
    const kinds = handledKinds(message);
    this.#begin(message, kinds);
    this.#current.consumed.add(1, kinds);
  }

  fail(message: OutgoingMessage | HandledMessage): void {
    const running = this.#running.get(message);
    if (running !== undefined) running.error = errorType(message.error);
  }

  sent(message: OutgoingMessage): void {
    const running = this.#running.get(message);
    if (running === undefined) return;
    const attributes = attributesOf(running);
    this.#current.sent.add(1, attributes);
    this.#current.operation.record(secondsSince(running), attributes);
  }

  handled(message: HandledMessage): void {
    const running = this.#running.get(message);
    if (running === undefined) return;
    if (isFailedStatus(message)) running.error = String(message.status);
    this.#current.process.record(secondsSince(running), attributesOf(running));
  }

  #begin(message: OutgoingMessage | HandledMessage, kinds: Kinds): void {
    this.#running.set(message, { began: performance.now(), kinds, error: undefined });
  }

  // An SDK may register its meter provider after its trace provider, or replace it later.
  get #current(): Instruments {
    const provider = this.#api.metrics.getMeterProvider();
    if (this.#instruments?.provider !== provider) this.#instruments = instrumentsOf(provider);
    return this.#instruments;
  }
}

function instrumentsOf(provider: MeterProvider): Instruments {
  const meter = provider.getMeter("confluo", CONFLUO_VERSION);
  const seconds = { unit: "s", advice: { explicitBucketBoundaries: BOUNDARIES } };
  const messages = { unit: "{message}" };
  return {
    provider,
    sent: meter.createCounter("messaging.client.sent.messages", {
      ...messages,
      description: "Messages that a service sent or tried to send.",
    }),
    consumed: meter.createCounter("messaging.client.consumed.messages", {
      ...messages,
      description: "Messages that were passed to handlers.",
    }),
    operation: meter.createHistogram("messaging.client.operation.duration", {
      ...seconds,
      description: "From sending to the answer of a call, or to the broker's confirm.",
    }),
    process: meter.createHistogram("messaging.process.duration", {
      ...seconds,
      description: "Duration of handler runs.",
    }),
  };
}

function attributesOf({ kinds, error }: Running): Kinds {
  return error === undefined ? kinds : { ...kinds, "error.type": error };
}

function secondsSince({ began }: Running): number {
  return (performance.now() - began) / 1_000;
}
