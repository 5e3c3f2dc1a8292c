import { context, propagation, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import {
  InMemorySpanExporter,
  NodeTracerProvider,
  type ReadableSpan,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-node";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { Broker, command, event, type Message, Service, ServiceError, silentLogger } from "../index.ts";
import { eventually } from "../testing/index.ts";

const exporter = new InMemorySpanExporter();
const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
const cleanUp: (() => unknown)[] = [];

beforeAll(() => provider.register());
afterEach(async () => {
  for (const undo of cleanUp.splice(0).reverse()) await undo();
  exporter.reset();
});
afterAll(() => provider.shutdown());

async function connected(...services: readonly Service[]): Promise<Broker> {
  const broker = new Broker("memory:");
  broker.gathersEagerly = true; // calls travel in gathered messages from the first on
  cleanUp.push(() => Promise.all(services.map((service) => service.shutdown())));
  await Promise.all(services.map((service) => service.connect(broker)));
  return broker;
}

function newService(name: string): Service {
  return new Service(name, { logger: silentLogger });
}

async function spans(count: number): Promise<readonly ReadableSpan[]> {
  await eventually(() => exporter.getFinishedSpans().length >= count, `${count} spans`);
  return exporter.getFinishedSpans();
}

/** A span by its name, and by its parent's, if several have that name. */
function named(found: readonly ReadableSpan[], name: string): ReadableSpan {
  const span = found.find((span) => span.name === name);
  if (span === undefined) throw new Error(`${name} is none of ${found.map(({ name }) => name).join(", ")}`);
  return span;
}

describe("a trace", () => {
  it("goes from a caller through a handler and what it publishes to who subscribed", async () => {
    const [client, shop, mail] = [newService("client"), newService("shop"), newService("mail")];
    const order = command("shop", "/orders/:id");
    const ordered = event("/orders/:id/placed");
    shop.route(order, async ({ params }) => {
      await new Promise((resolve) => setImmediate(resolve));
      await shop.publish(ordered.at({ id: params.id }));
      return "done";
    });
    let active: string | undefined;
    mail.subscribe(ordered, async () => {
      await new Promise((resolve) => setImmediate(resolve));
      active = trace.getActiveSpan()?.spanContext().spanId;
    });
    await connected(client, shop, mail);
    await client.call(order.at({ id: "7" }));
    const found = await spans(4);
    const call = named(found, "call shop/orders/:id");
    const route = named(found, "process shop/orders/:id");
    const publish = named(found, "publish /orders/:id/placed");
    const subscription = named(found, "process /orders/:id/placed");
    expect(new Set(found.map((span) => span.spanContext().traceId)).size).toBe(1);
    expect(call.parentSpanContext).toBeUndefined();
    for (const [child, parent] of [
      [route, call],
      [publish, route],
      [subscription, publish],
    ] as const)
      expect(child.parentSpanContext?.spanId).toBe(parent.spanContext().spanId);
    expect(found.length).toBe(4);
    expect([call, route, publish, subscription].map(({ kind }) => kind)).toEqual([
      SpanKind.CLIENT,
      SpanKind.SERVER,
      SpanKind.PRODUCER,
      SpanKind.CONSUMER,
    ]);
    expect(active).toBe(subscription.spanContext().spanId);
    const id = call.attributes["messaging.message.id"];
    expect(call.attributes).toEqual({
      "messaging.system": "rabbitmq",
      "messaging.operation.name": "call",
      "messaging.operation.type": "send",
      "messaging.destination.name": "shop/orders/7",
      "messaging.destination.template": "shop/orders/:id",
      "messaging.client.id": client.instance,
      "messaging.message.id": id,
      "messaging.message.conversation_id": id,
      "confluo.service": "client",
    });
    expect(subscription.attributes).toEqual({
      "messaging.system": "rabbitmq",
      "messaging.operation.name": "process",
      "messaging.operation.type": "process",
      "messaging.destination.name": "/orders/7/placed",
      "messaging.destination.template": "/orders/:id/placed",
      "messaging.client.id": mail.instance,
      "messaging.message.id": publish.attributes["messaging.message.id"],
      "confluo.service": "mail",
      "confluo.from": "shop",
    });
    expect(route.attributes["messaging.message.id"]).toBe(id);
  });

  it("keeps calls apart that travel together, and continues the one that is active", async () => {
    const [client, shop] = [newService("client"), newService("shop")];
    shop.route("/price", () => trace.getActiveSpan()?.spanContext().traceId);
    await connected(client, shop);
    const tracer = trace.getTracer("test");
    for (let round = 0; round < 2; round += 1) {
      const answers = [1, 2, 3].map(() =>
        tracer.startActiveSpan("own", async (own) => {
          const { body } = await client.call("shop", "/price");
          own.end();
          return [body, own.spanContext().traceId];
        }),
      );
      for (const [seen, own] of await Promise.all(answers)) expect(seen).toBe(own);
    }
    const found = await spans(18);
    expect(found.filter(({ name }) => name === "call shop")).toHaveLength(6);
  });

  it("carries baggage", async () => {
    const [client, shop] = [newService("client"), newService("shop")];
    shop.subscribe(
      "/happened",
      () => void seen.push(propagation.getActiveBaggage()?.getEntry("tenant")?.value),
    );
    const seen: (string | undefined)[] = [];
    await connected(client, shop);
    const baggage = propagation.createBaggage({ tenant: { value: "acme" } });
    await context.with(propagation.setBaggage(context.active(), baggage), () => client.publish("/happened"));
    await eventually(() => seen.length === 1, "the event");
    expect(seen).toEqual(["acme"]);
  });

  it("has every try of a message as a child of what sent it, linked to the try before", async () => {
    const [client, shop] = [newService("client"), newService("shop")];
    shop.route(
      "/later",
      ({ attempt }) => {
        if (attempt === 1) throw new TypeError("not yet");
      },
      { retry: { attempts: 2, backoff: { firstMs: 100, maxMs: 100 } } },
    );
    await connected(client, shop);
    await client.send("shop", "/later");
    const found = await spans(3);
    const [first, second] = found.filter(({ kind }) => kind === SpanKind.CONSUMER) as [
      ReadableSpan,
      ReadableSpan,
    ];
    const sent = named(found, "send shop");
    expect(first.status).toEqual({ code: SpanStatusCode.ERROR, message: "not yet" });
    expect(first.attributes["error.type"]).toBe("TypeError");
    expect(first.events.map(({ name }) => name)).toEqual(["exception"]);
    expect(second.status.code).toBe(SpanStatusCode.UNSET);
    expect(second.attributes["confluo.attempt"]).toBe(2);
    expect(second.links.map(({ context }) => context.spanId)).toEqual([first.spanContext().spanId]);
    for (const attempt of [first, second])
      expect(attempt.parentSpanContext?.spanId).toBe(sent.spanContext().spanId);
  });

  it("says how a call failed, as its caller's failure unless the service is to blame", async () => {
    const [client, shop] = [newService("client"), newService("shop")];
    shop.route("/none", () => {
      throw new ServiceError("no such order", { status: 404, code: "NO_SUCH_ORDER" });
    });
    shop.route("/broken", ({ reply }) => reply("so", { status: 503 }));
    await connected(client, shop);
    await client.call("shop", "/none").catch(() => undefined);
    const none = await spans(2);
    expect(none.map(({ attributes }) => attributes["error.type"])).toEqual([
      "NO_SUCH_ORDER",
      "NO_SUCH_ORDER",
    ]);
    expect(named(none, "process shop/none").status.code).toBe(SpanStatusCode.UNSET);
    expect(named(none, "call shop").status.code).toBe(SpanStatusCode.ERROR);
    exporter.reset();
    await client.call("shop", "/broken").catch(() => undefined);
    const broken = await spans(2);
    expect(named(broken, "process shop/broken").status.code).toBe(SpanStatusCode.ERROR);
    expect(named(broken, "process shop/broken").attributes["error.type"]).toBe("503");
    expect(named(broken, "call shop").attributes["error.type"]).toBe("SERVICE_ERROR");
  });

  it.each([
    { traceparent: "00-nonsense", baggage: "%E0%A4%A", tracestate: "=" },
    { traceparent: 7, baggage: true, tracestate: { a: 1 } },
    { traceparent: "00-00000000000000000000000000000000-0000000000000000-01", baggage: "=".repeat(9_000) },
    { traceparent: ["a"], tracestate: null, baggage: "__proto__=x,constructor=y" },
  ])("begins anew at what a foreign sender wrote, $traceparent", async (headers) => {
    const shop = newService("shop");
    shop.subscribe("/happened", () => undefined);
    const broker = await connected(shop);
    const wire = await broker.openClient();
    cleanUp.push(() => wire.close());
    const foreign = {
      body: Buffer.from("{}"),
      properties: { contentType: "application/json", headers },
    };
    await new Promise<void>((resolve) =>
      wire.publish({ exchange: "confluo.events", key: "happened" }, foreign as Message, () => resolve()),
    );
    const [span] = await spans(1);
    expect(span?.name).toBe("process /happened");
    expect(span?.parentSpanContext).toBeUndefined();
  });

  it("does a message no harm when a part of the SDK throws", async () => {
    const fail = (): never => {
      throw new Error("broken");
    };
    const broken = vi.spyOn(propagation, "inject").mockImplementation(fail);
    cleanUp.push(() => broken.mockRestore());
    const [client, shop] = [newService("client"), newService("shop")];
    shop.route("/price", () => 12);
    await connected(client, shop);
    expect((await client.call("shop", "/price")).body).toBe(12);
    expect(await spans(2)).toHaveLength(2);
  });
});
