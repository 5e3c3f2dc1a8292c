/** A program on nothing but amqplib: the yardstick when its socket is used well. */

import amqplib, { type ChannelModel, type ConsumeMessage } from "amqplib";
import type { Body, Closable, Handler, Requester, Surroundings, Variant } from "./variant.ts";

interface RawSettings {
  readonly title: string;
  readonly settings: string;
  /** Nagle off, and one write per turn of the event loop. */
  readonly corked: boolean;
  /** Where answers come in. */
  readonly replies: "direct reply-to" | "an exclusive queue on a connection of its own";
  /** Calls are confirmed by the broker, and come back where no queue takes them. */
  readonly confirmed?: boolean;
}

const PREFETCH = 128;

/** amqplib as one who knows it uses it. */
export const raw: Variant = rawVariant({
  title: "raw amqplib",
  settings: "Nagle off, socket corked, prefetch 128, direct reply-to",
  corked: true,
  replies: "direct reply-to",
});

/** The same with what confluo does about replies. */
export const rawSplit: Variant = rawVariant({
  title: "raw amqplib, two connections",
  settings:
    "Nagle off, socket corked, prefetch 128, exclusive reply queue, a connection to publish and one to consume",
  corked: true,
  replies: "an exclusive queue on a connection of its own",
});

/** The same with what confluo has the broker confirm: beside the one above, what it costs that no call is lost unnoticed. */
export const rawConfirmed: Variant = rawVariant({
  title: "raw amqplib, two connections, calls confirmed",
  settings:
    "Nagle off, socket corked, prefetch 128, exclusive reply queue, a connection to publish and one to consume, calls mandatory and confirmed",
  corked: true,
  replies: "an exclusive queue on a connection of its own",
  confirmed: true,
});

/** amqplib as it comes. */
export const plainAmqplib: Variant = rawVariant({
  title: "plain amqplib",
  settings: "Nagle off, prefetch 128, direct reply-to",
  corked: false,
  replies: "direct reply-to",
});

function rawVariant({ title, settings, corked, replies, confirmed = false }: RawSettings): Variant {
  const open = async (broker: string): Promise<ChannelModel> => {
    const model = await amqplib.connect(broker, { noDelay: true });
    if (corked) cork(model);
    return model;
  };
  const isSplit = replies !== "direct reply-to";
  return {
    title,
    settings,
    loads: ["calls", "arrivals", "events", "sends"],
    handle: async (surroundings, service, handler) => {
      const consuming = await open(surroundings.broker);
      const publishing = isSplit ? await open(surroundings.broker) : consuming;
      const { kind } = surroundings.case.load;
      if (kind === "calls" || kind === "arrivals")
        await answer({ consuming, publishing }, surroundings, handler);
      else await consume(consuming, surroundings, service, handler);
      return closing(consuming, publishing);
    },
    request: async (surroundings) => {
      const publishing = await open(surroundings.broker);
      const consuming = isSplit ? await open(surroundings.broker) : publishing;
      return requester({ consuming, publishing }, surroundings, { isSplit, confirmed });
    },
  };
}

interface Connections {
  readonly consuming: ChannelModel;
  readonly publishing: ChannelModel;
}

async function answer(
  { consuming, publishing }: Connections,
  { name, case: { beside } }: Surroundings,
  handler: Handler,
): Promise<void> {
  const channel = await consuming.createChannel();
  const replies = publishing === consuming ? channel : await publishing.createChannel();
  const queue = `${name}.calls`;
  await channel.assertQueue(queue, {
    durable: true,
    arguments: { "x-queue-type": "classic", "x-expires": 30_000 },
  });
  await channel.prefetch(PREFETCH);
  const routes = new Map<string, Handler>([["/work", handler]]);
  for (let i = 0; i < beside; i += 1) routes.set(`/beside/${i}`, handler);
  await channel.consume(queue, (message) => {
    if (message === null) return;
    const { replyTo, correlationId, type } = message.properties;
    const reply = (body: Body): void => {
      const properties = { correlationId, contentType: "application/json" };
      replies.publish("", replyTo, Buffer.from(JSON.stringify(body)), properties);
      channel.ack(message);
    };
    const result = routes.get(type)?.(bodyOf(message));
    if (result instanceof Promise) void result.then(reply);
    else if (result !== undefined) reply(result);
  });
}

const quorum = {
  "x-queue-type": "quorum",
  "x-delivery-limit": 1_000_000_000,
} as const;

async function consume(
  model: ChannelModel,
  { name, case: { load, beside } }: Surroundings,
  service: string,
  handler: Handler,
): Promise<void> {
  const channel = await model.createChannel();
  const queue = `${name}.${service}`;
  await channel.assertQueue(queue, { durable: true, arguments: quorum });
  if (load.kind === "events") {
    await channel.assertExchange(`${name}.events`, "topic", { durable: true });
    for (let i = 0; i < beside; i += 1) await channel.bindQueue(queue, `${name}.events`, `beside.${i}`);
    await channel.bindQueue(queue, `${name}.events`, "work.done");
  }
  await channel.prefetch(PREFETCH);
  await channel.consume(queue, (message) => {
    if (message === null) return;
    const result = handler(bodyOf(message));
    if (result instanceof Promise) void result.then(() => channel.ack(message));
    else channel.ack(message);
  });
}

async function requester(
  { consuming, publishing }: Connections,
  { name, case: { load } }: Surroundings,
  { isSplit, confirmed }: { readonly isSplit: boolean; readonly confirmed: boolean },
): Promise<Requester> {
  const pending = new Map<string, (body: Body) => void>();
  const onReply = (message: ConsumeMessage | null): void => {
    if (message === null) return;
    const { correlationId } = message.properties;
    const resolve = pending.get(correlationId);
    pending.delete(correlationId);
    resolve?.(bodyOf(message));
  };
  const channel = await publishing.createChannel();
  let replyTo = "amq.rabbitmq.reply-to";
  if (isSplit) {
    const replies = await consuming.createChannel();
    replyTo = (await replies.assertQueue("", { exclusive: true, durable: false })).queue;
    await replies.consume(replyTo, onReply, { noAck: true });
  } else await channel.consume(replyTo, onReply, { noAck: true });
  const confirming = await publishing.createConfirmChannel();
  let last = 0;
  const publish = (exchange: string, key: string, body: Body): Promise<void> =>
    new Promise((resolve, reject) => {
      last += 1;
      const properties = {
        contentType: "application/json",
        messageId: String(last),
        deliveryMode: 2,
        mandatory: exchange === "",
      };
      confirming.publish(exchange, key, Buffer.from(JSON.stringify(body)), properties, (error) => {
        if (error) reject(error);
        else resolve();
      });
    });
  if (load.kind === "events") await confirming.assertExchange(`${name}.events`, "topic", { durable: true });
  return {
    call: (body) =>
      new Promise((resolve, reject) => {
        last += 1;
        const correlationId = String(last);
        pending.set(correlationId, resolve);
        const properties = {
          contentType: "application/json",
          type: "/work",
          correlationId,
          replyTo,
          expiration: "20000",
        };
        const bytes = Buffer.from(JSON.stringify(body));
        if (!confirmed) {
          channel.publish("", `${name}.calls`, bytes, properties);
          return;
        }
        confirming.publish("", `${name}.calls`, bytes, { ...properties, mandatory: true }, (error) => {
          if (error) reject(error);
        });
      }),
    publish: (body) => publish(`${name}.events`, "work.done", body),
    send: (body) => publish("", `${name}.service-0`, body),
    ...closing(consuming, publishing),
  };
}

function bodyOf({ content }: ConsumeMessage): Body {
  return JSON.parse(content.toString()) as Body;
}

function closing(...models: readonly ChannelModel[]): Closable {
  return {
    close: async () => {
      await Promise.all([...new Set(models)].map((model) => model.close()));
    },
  };
}

interface Socket {
  write(...args: unknown[]): boolean;
  cork(): void;
  uncork(): void;
}

// What amqplib writes in one turn of the event loop goes out in one go.
function cork({ connection }: ChannelModel): void {
  const { stream } = connection as unknown as { stream: Socket };
  const write = stream.write.bind(stream);
  let corked = false;
  const uncork = (): void => {
    corked = false;
    stream.uncork();
  };
  stream.write = (...args) => {
    if (!corked) {
      corked = true;
      stream.cork();
      setImmediate(uncork);
    }
    return write(...args);
  };
}
