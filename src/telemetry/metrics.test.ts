import { metrics } from "@opentelemetry/api";
import {
  AggregationTemporality,
  type HistogramMetricData,
  InMemoryMetricExporter,
  MeterProvider,
  type MetricData,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Broker, command, Service, ServiceError, silentLogger } from "../index.ts";
import { eventually } from "../testing/index.ts";

const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 });
const provider = new MeterProvider({ readers: [reader] });

beforeAll(() => void metrics.setGlobalMeterProvider(provider));
afterAll(() => provider.shutdown());

async function collected(): Promise<ReadonlyMap<string, MetricData>> {
  exporter.reset();
  await reader.forceFlush();
  const scopes = exporter.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics);
  const found = scopes.filter(({ scope }) => scope.name === "confluo").flatMap(({ metrics }) => metrics);
  return new Map(found.map((metric) => [metric.descriptor.name, metric]));
}

/** Its data points, as what was done to what, how it failed, and how often. */
function points(metric: MetricData | undefined): readonly string[] {
  const texts = (metric?.dataPoints ?? []).map(({ attributes, value }) => {
    const {
      "messaging.operation.name": name,
      "messaging.destination.template": to,
      "error.type": error,
    } = attributes;
    const count = typeof value === "number" ? value : (value as { readonly count: number }).count;
    return [name, to, error, count].filter((part) => part !== undefined).join(" ");
  });
  return texts.toSorted();
}

describe("metrics", () => {
  it("count and time what is sent and handled, and what of it failed", async () => {
    const broker = new Broker("memory:");
    const [shop, client] = ["shop", "client"].map((name) => new Service(name, { logger: silentLogger })) as [
      Service,
      Service,
    ];
    const price = command("shop", "/price/:id");
    let handled = 0;
    shop.route(price, () => 12);
    shop.route("/none", () => {
      throw new ServiceError("none", { status: 404, code: "NONE" });
    });
    shop.route("/busy", ({ reply }) => reply(null, { status: 503 }));
    shop.subscribe("/happened/*", () => void handled++);
    await Promise.all([shop.connect(broker), client.connect(broker)]);
    await Promise.all([1, 2, 3].map((id) => client.call(price.at({ id: String(id) }))));
    await client.call("shop", "/none").catch(() => undefined);
    await client.call("shop", "/busy").catch(() => undefined);
    await client.publish("/happened/1");
    await client.publish("/happened/2");
    await client.send("nobody", "/x").catch(() => undefined);
    await eventually(() => handled === 2, "both events");
    const found = await collected();
    await Promise.all([shop.shutdown(), client.shutdown()]);
    const sent = [
      "call shop NONE 1",
      "call shop SERVICE_ERROR 1",
      "call shop/price/:id 3",
      "publish 2",
      "send nobody NO_SUCH_SERVICE 1",
    ];
    expect(points(found.get("messaging.client.sent.messages"))).toEqual(sent);
    expect(points(found.get("messaging.client.operation.duration"))).toEqual(sent);
    expect(points(found.get("messaging.process.duration"))).toEqual([
      "process /happened/* 2",
      "process shop/busy 503 1",
      "process shop/none NONE 1",
      "process shop/price/:id 3",
    ]);
    expect(points(found.get("messaging.client.consumed.messages"))).toEqual([
      "process /happened/* 2",
      "process shop/busy 1",
      "process shop/none 1",
      "process shop/price/:id 3",
    ]);
    const durations = found.get("messaging.process.duration") as HistogramMetricData;
    expect(durations.descriptor.unit).toBe("s");
    const { boundaries } = durations.dataPoints[0]?.value.buckets ?? {};
    expect([boundaries?.[0], boundaries?.at(-1), boundaries?.length]).toEqual([0.005, 10, 14]);
  });
});
