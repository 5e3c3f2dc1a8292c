/**
 * Moleculer, over AMQP and, for context, over NATS. It asks for amqplib 0.10; the overrides in `package.json` let it have
 * the version that most others run on.
 */

import { setImmediate, setTimeout } from "node:timers/promises";
import { type BrokerOptions, type Context, ServiceBroker, type ServiceSchema } from "moleculer";
import {
  type Body,
  type Closable,
  isPlain,
  type Surroundings,
  unsupported,
  type Variant,
} from "../variant.ts";

interface Settings {
  readonly title: string;
  readonly settings: string;
  readonly needs?: "nats";
  /** What is not a default, the transporter above all. */
  options(broker: string): BrokerOptions;
}

const EVENTS = "no one-way commands; events neither confirmed nor persistent";

/** As it comes. */
export const moleculer: Variant = moleculerVariant({
  title: "Moleculer",
  settings: `prefetch 1; ${EVENTS}, and not acknowledged`,
  options: (transporter) => ({ transporter }),
});

/** With all that its AMQP transporter offers. */
export const moleculerBest: Variant = moleculerVariant({
  title: "Moleculer, tuned",
  settings: `Nagle off, prefetch 128, balanced by the broker's queues; ${EVENTS}`,
  options: (url) => ({
    transporter: { type: "AMQP", options: { url, prefetch: 128, socketOptions: { noDelay: true } } },
    disableBalancer: true,
  }),
});

/** Over the transporter that its documentation shows first. */
export const moleculerNats: Variant = moleculerVariant({
  title: "Moleculer on NATS",
  settings: "NATS instead of RabbitMQ: nothing persistent, nothing acknowledged; no one-way commands",
  needs: "nats",
  options: () => ({ transporter: natsUrl() }),
});

/** A broker without balancer consumes from its queues a second after it has started; what comes before is lost. */
const SUBSCRIBES_AFTER_MS = 1_500;

function moleculerVariant({ options, ...described }: Settings): Variant {
  const start = async (
    { broker: url, name }: Surroundings,
    schema?: ServiceSchema,
  ): Promise<{ readonly broker: ServiceBroker } & Closable> => {
    const broker = new ServiceBroker({ ...options(url), namespace: name, logger: false });
    if (schema !== undefined) broker.createService(schema);
    await broker.start();
    return { broker, close: () => broker.stop() };
  };
  return {
    ...described,
    loads: ["calls", "arrivals", "events"],
    supports: isPlain,
    handle: async (surroundings, service, handler) => {
      const { broker, close } = await start(
        surroundings,
        surroundings.case.load.kind === "events"
          ? {
              name: service,
              events: { "work.done": async ({ params }: Context) => void (await handler(params as Body)) },
            }
          : { name: service, actions: { work: ({ params }: Context<Body>) => handler(params) } },
      );
      if (broker.options.disableBalancer) await setTimeout(SUBSCRIBES_AFTER_MS);
      return { close };
    },
    request: async (surroundings) => {
      const { broker, close } = await start(surroundings);
      const { services } = surroundings.case;
      await broker.waitForServices(Array.from({ length: services }, (_, i) => `service-${i}`));
      return {
        call: (body) => broker.call<Body, Body>("service-0.work", body),
        publish: async (body) => {
          await broker.emit("work.done", body);
          // It resolves before anything is written: without a turn of the event loop nothing ever would be.
          await setImmediate();
        },
        send: unsupported,
        close,
      };
    },
  };
}

function natsUrl(): string {
  const url = process.env.CONFLUO_BENCH_NATS;
  if (url === undefined) throw new Error("Set CONFLUO_BENCH_NATS to the URL of a NATS server.");
  return url;
}
