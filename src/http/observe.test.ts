import { afterEach, describe, expect, it } from "vitest";
import { Broker, Service, type ServiceOptions, silentLogger } from "../index.ts";
import { type Observed, observe } from "./index.ts";

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close();
});

async function observed(...services: Service[]): Promise<Observed> {
  const up = await observe(services, { port: 0, host: "127.0.0.1" });
  open.push(up);
  return up;
}

function serviceNamed(name: string, options: ServiceOptions = {}): Service {
  const service = new Service(name, {
    broker: new Broker("memory:"),
    logger: silentLogger,
    retry: { attempts: 1 },
    ...options,
  });
  open.push({ close: () => service.shutdown() });
  return service;
}

describe("what a process shows over HTTP", () => {
  it("is alive at once, and ready when every service is healthy", async () => {
    const service = serviceNamed("orders").route("/", () => 1);
    const { url } = await observed(service);
    const ask = async (path: string) => {
      const response = await fetch(url + path);
      return {
        status: response.status,
        body: (await response.json()) as { ready: boolean; services: object[] },
      };
    };
    expect(await ask("/healthz")).toMatchObject({ status: 200, body: { ready: false } });
    expect(await ask("/readyz")).toMatchObject({ status: 503, body: { services: [{ state: "idle" }] } });
    await service.connect();
    expect(await ask("/readyz?from=probe")).toEqual({
      status: 200,
      body: {
        ready: true,
        services: [{ service: "orders", status: "healthy", state: "running", detached: [] }],
      },
    });
    await service.shutdown();
    expect((await ask("/readyz")).status).toBe(503);
  });

  it("has metrics that Prometheus reads", async () => {
    const service = serviceNamed("orders");
    service
      .route('/a"b', () => 1)
      .subscribe("/e", () => {
        throw new Error("no");
      });
    await service.connect();
    for (let n = 0; n < 3; n += 1) await service.call("orders", '/a"b');
    await service.publish("/e");
    await expect.poll(() => service.stats().subscriptions[0]?.failed).toBe(1);
    const { url } = await observed(service);
    const response = await fetch(`${url}/metrics`);
    expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    const text = await response.text();
    const sample = /^[a-z_]+\{([a-z]+="(?:[^"\\\n]|\\[\\"n])*",?)+\} \d+(\.\d+)?(e-\d+)?$/;
    for (const line of text.trim().split("\n")) if (!line.startsWith("# ")) expect(line).toMatch(sample);
    const route = 'service="orders",kind="route",path="/a\\"b"';
    const subscription = 'service="orders",kind="subscription",path="/e"';
    expect(text).toContain(`confluo_handled_total{${route}} 3\n`);
    expect(text).toContain(`confluo_failed_total{${subscription}} 1\n`);
    expect(text).toContain(`confluo_dead_lettered_total{${subscription}} 1\n`);
    expect(text).toContain(`confluo_handler_duration_seconds_bucket{${route},le="+Inf"} 3\n`);
    expect(text).toContain(`confluo_handler_duration_seconds_count{${route}} 3\n`);
    expect(text).toContain('confluo_up{service="orders"} 1\n');
    expect(text.match(/# TYPE confluo_handled_total counter/g)).toHaveLength(1);
  });

  it("counts each dead letter, and what no handler is there for, in series that are there from the start", async () => {
    const service = serviceNamed("orders", { unhandledRetryMs: 1 }).route("/a", () => 1);
    await service.connect();
    const { url } = await observed(service);
    const shown = async (name: string): Promise<readonly (string | undefined)[]> => {
      const text = await (await fetch(`${url}/metrics`)).text();
      return text.split("\n").filter((line) => line.startsWith(`confluo_${name}_total`));
    };
    const letters = (unmatched: number, malformed: number): readonly string[] => [
      'confluo_dead_lettered_total{service="orders",kind="route",path="/a"} 0',
      `confluo_dead_lettered_total{service="orders",kind="unmatched",path=""} ${unmatched}`,
      `confluo_dead_lettered_total{service="orders",kind="malformed",path=""} ${malformed}`,
    ];
    expect(await shown("dead_lettered")).toEqual(letters(0, 0));
    expect(await shown("unmatched")).toEqual(['confluo_unmatched_total{service="orders"} 0']);
    expect(await shown("malformed")).toEqual(['confluo_malformed_total{service="orders"} 0']);
    await service.send("orders", "/nowhere");
    await expect.poll(() => shown("dead_lettered")).toEqual(letters(1, 0));
    await expect(service.call("orders", "/nowhere")).rejects.toMatchObject({ code: "NO_SUCH_ROUTE" });
    expect(await shown("unmatched")).toEqual(['confluo_unmatched_total{service="orders"} 2']);
  });

  it("answers nothing else", async () => {
    const { url } = await observed(serviceNamed("orders"));
    expect((await fetch(`${url}/`)).status).toBe(404);
    expect((await fetch(`${url}/metrics`, { method: "POST" })).status).toBe(405);
  });

  it("is refused for what cannot be observed, and where it cannot listen", async () => {
    const service = serviceNamed("orders");
    for (const services of [[], [{}], undefined])
      await expect(observe(services as never)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(observe(service, { port: 70_000 })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    const { url } = await observed(service);
    const taken = { port: Number(new URL(url).port), host: "127.0.0.1" };
    await expect(observe(service, taken)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});
