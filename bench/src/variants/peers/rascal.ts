/** Rascal. Its documentation knows reply queues, but no calls: what belongs to them is written by hand here. */

import library, {
  type BrokerAsPromised,
  type PublicationConfig,
  type QueueConfig,
  type SubscriptionConfig,
  type VhostConfig,
} from "rascal";
import {
  type Body,
  type Handler,
  isPlain,
  type Requester,
  type Surroundings,
  type Variant,
} from "../variant.ts";
import { quorum } from "./quorum.ts";

interface Settings {
  readonly title: string;
  readonly settings: string;
  readonly socketOptions: { readonly noDelay?: boolean; readonly timeout?: number };
  readonly pools: NonNullable<VhostConfig["publicationChannelPools"]>;
  readonly prefetch?: number;
  /** Of requests and answers. */
  readonly passing: PublicationConfig;
  /** Of answers. */
  readonly replies: SubscriptionConfig;
  /** The queues of events and one-way commands. */
  readonly keptQueue: QueueConfig;
}

/** As its documentation begins. */
export const rascal: Variant = rascalVariant({
  title: "Rascal",
  settings:
    "prefetch 10, all confirmed and persistent, 5 channels for confirms; calls by hand over its reply queues",
  socketOptions: {},
  pools: { confirmPool: { autostart: true } },
  passing: {},
  replies: {},
  keptQueue: {},
});

/** With all that it offers. */
export const rascalBest: Variant = rascalVariant({
  title: "Rascal, tuned",
  settings:
    "Nagle off, prefetch 128, 90 channels for confirms; requests and answers neither confirmed nor persistent; events and one-way commands in quorum queues; calls by hand over its reply queues",
  socketOptions: { noDelay: true },
  // A channel carries one unconfirmed message at a time, and a connection has 100 channels.
  pools: { confirmPool: { autostart: true, max: 90, min: 90 }, regularPool: { autostart: true } },
  prefetch: 128,
  passing: { confirm: false, options: { persistent: false } },
  replies: { prefetch: 0, options: { noAck: true } },
  keptQueue: { options: { arguments: quorum } },
});

function rascalVariant(settings: Settings): Variant {
  return {
    title: settings.title,
    settings: settings.settings,
    loads: ["calls", "arrivals", "events", "sends"],
    supports: isPlain,
    handle: async (surroundings, service, handler) => {
      const broker = await open(settings, surroundings, handling(settings, surroundings, service));
      await consume(broker, handler);
      return { close: () => broker.shutdown() };
    },
    request: async (surroundings) =>
      requester(await open(settings, surroundings, requesting(settings, surroundings))),
  };
}

async function open(
  { socketOptions, pools }: Settings,
  { broker: url }: Surroundings,
  vhost: VhostConfig,
): Promise<BrokerAsPromised> {
  const broker = await library.BrokerAsPromised.create(
    library.withDefaultConfig({
      vhosts: { "/": { ...vhost, publicationChannelPools: pools, connection: { url, socketOptions } } },
    }),
  );
  broker.on("error", fail);
  return broker;
}

function handling(
  { prefetch, passing, keptQueue }: Settings,
  { name, case: { load } }: Surroundings,
  service: string,
): VhostConfig {
  const queue = `${name}.${service}`;
  const subscriptions = { work: prefetch === undefined ? { queue } : { queue, prefetch } };
  if (load.kind === "events")
    return {
      exchanges: [name],
      queues: { [queue]: keptQueue },
      bindings: [`${name}[work.done] -> ${queue}`],
      subscriptions,
    };
  if (load.kind === "sends") return { queues: { [queue]: keptQueue }, subscriptions };
  return {
    exchanges: [""],
    queues: [queue],
    subscriptions,
    publications: { answer: { exchange: "", ...passing } },
  };
}

function requesting(
  { passing, replies: receiving, keptQueue }: Settings,
  { name, case: { load } }: Surroundings,
): VhostConfig {
  const queue = `${name}.service-0`;
  if (load.kind === "events")
    return { exchanges: [name], publications: { done: { exchange: name, routingKey: "work.done" } } };
  if (load.kind === "sends") return { queues: { [queue]: keptQueue }, publications: { send: { queue } } };
  // Both have more members than their types know.
  const replies = { replyTo: true, options: { durable: false, exclusive: true } };
  const call = { queue, replyTo: "replies", ...passing };
  return {
    queues: { [queue]: {}, replies },
    publications: { call },
    subscriptions: { replies: { queue: "replies", ...receiving } },
  };
}

async function consume(broker: BrokerAsPromised, handler: Handler): Promise<void> {
  const subscription = await broker.subscribe("work");
  subscription.on("error", fail);
  subscription.on("message", async ({ properties }, body, ackOrNack) => {
    const result = await handler(body as Body);
    if (properties.replyTo !== undefined) {
      const { replyTo, correlationId } = properties;
      await publish(broker, "answer", result, { routingKey: replyTo, options: { correlationId } });
    }
    ackOrNack();
  });
}

async function requester(broker: BrokerAsPromised): Promise<Requester> {
  const pending = new Map<string, (body: Body) => void>();
  let last = 0;
  const receiving = broker.config.subscriptions?.replies;
  if (receiving !== undefined) {
    const replies = await broker.subscribe("replies");
    replies.on("error", fail);
    replies.on("message", ({ properties: { correlationId } }, body, ackOrNack) => {
      pending.get(correlationId)?.(body as Body);
      pending.delete(correlationId);
      if (receiving.options?.noAck !== true) ackOrNack();
    });
  }
  return {
    call: (body) =>
      new Promise((resolve, reject) => {
        last += 1;
        const correlationId = String(last);
        pending.set(correlationId, resolve);
        publish(broker, "call", body, { options: { correlationId } }).catch(reject);
      }),
    publish: (body) => publish(broker, "done", body),
    send: (body) => publish(broker, "send", body),
    close: () => broker.shutdown(),
  };
}

/** Resolves when it is confirmed, or written if it is not to be. */
async function publish(
  broker: BrokerAsPromised,
  name: string,
  body: Body,
  overrides: PublicationConfig = {},
): Promise<void> {
  const publication = await broker.publish(name, body, overrides);
  await new Promise((resolve, reject) => {
    publication.on("success", resolve);
    publication.on("error", reject);
  });
}

function fail(error: Error): void {
  throw error;
}
