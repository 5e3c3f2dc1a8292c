/**
 * Starts OpenTelemetry. Import this before any service connects. A real service would export to a collector instead of a file.
 */

import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import {
  NodeTracerProvider,
  type ReadableSpan,
  SimpleSpanProcessor,
  type SpanExporter,
} from "@opentelemetry/sdk-trace-node";

const file = new URL("traces.jsonl", import.meta.url);
writeFileSync(file, "");

export interface SpanLine {
  readonly trace: string;
  readonly id: string;
  readonly parent: string | undefined;
  readonly name: string;
  readonly service: unknown;
}

const exporter: SpanExporter = {
  export(spans, done) {
    for (const span of spans) appendFileSync(file, `${JSON.stringify(lineOf(span))}\n`);
    done({ code: 0 });
  },
  shutdown: () => Promise.resolve(),
};

new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }).register();

function lineOf(span: ReadableSpan): SpanLine {
  const { traceId, spanId } = span.spanContext();
  return {
    trace: traceId,
    id: spanId,
    parent: span.parentSpanContext?.spanId,
    name: span.name,
    service: span.attributes["confluo.service"],
  };
}

export function readSpans(): readonly SpanLine[] {
  const lines = readFileSync(file, "utf8").split("\n").filter(Boolean);
  return lines.map((line) => JSON.parse(line) as SpanLine);
}
