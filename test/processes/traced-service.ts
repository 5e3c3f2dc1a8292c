/** A service of a trace through several processes, which writes its spans to a file. */

import { appendFileSync } from "node:fs";
import {
  NodeTracerProvider,
  type ReadableSpan,
  SimpleSpanProcessor,
  type SpanExporter,
} from "@opentelemetry/sdk-trace-node";
import { Broker, Service, silentLogger } from "../../src/index.ts";

/** A span, as a line of the file. */
export interface SpanLine {
  readonly process: number;
  readonly name: string;
  readonly trace: string;
  readonly id: string;
  readonly parent: string | undefined;
}

const [role = "", url = "", namespace = "", file = ""] = process.argv.slice(2);

if (url !== "") {
  process.on("disconnect", () => process.exit(1)); // whoever started it is gone
  const exporter: SpanExporter = {
    export: (spans, done) => {
      for (const span of spans) appendFileSync(file, `${JSON.stringify(lineOf(span))}\n`);
      done({ code: 0 });
    },
    shutdown: () => Promise.resolve(),
  };
  new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }).register();
  const broker = new Broker(url, { namespace, logger: silentLogger });
  const service = new Service(role, { broker, logger: silentLogger });
  if (role === "shop") {
    service.route("/buy", async ({ body }) => {
      await service.publish("/bought", body);
      return "thanks";
    });
  }
  if (role === "mail") service.subscribe("/bought", () => undefined);
  await service.connect();
  process.once("message", async () => {
    await service.call("shop", "/buy");
    await Promise.all([1, 2, 3, 4].map(() => service.call("shop", "/buy")));
  });
  process.send?.("ready");
}

function lineOf(span: ReadableSpan): SpanLine {
  const { traceId, spanId } = span.spanContext();
  const parent = span.parentSpanContext?.spanId;
  return { process: process.pid, name: span.name, trace: traceId, id: spanId, parent };
}
