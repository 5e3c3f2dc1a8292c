/** Declares and binds many things in one round trip. */

import type { Channel } from "amqplib";
import type { ExchangeSpec, QueueArguments, TopologyRequest } from "../amqp-client.ts";

// AMQP's numbers of the methods: the class in the upper 16 bits, the method in the lower 16.
const EXCHANGE_DECLARE = 0x28_000a;
const EXCHANGE_BIND = 0x28_001e;
const QUEUE_DECLARE = 0x32_000a;
const QUEUE_BIND = 0x32_0014;

/** An undocumented method of amqplib, which sends a method without waiting for its answer. */
interface SendingChannel {
  sendImmediately?(method: number, fields: object): unknown;
}

/**
 * Sends all requests on one channel, of which only the last is answered. The broker handles them in order, and closes the
 * channel at the first one that it refuses. If amqplib lacks the method for that, every request is answered.
 */
export async function requestAll(channel: Channel, requests: readonly TopologyRequest[]): Promise<void> {
  const sending = channel as SendingChannel;
  const last = requests.at(-1);
  if (last === undefined) return;
  const answers: Promise<unknown>[] = [];
  for (const request of requests.slice(0, -1)) {
    if (sending.sendImmediately === undefined) answers.push(ask(channel, request));
    else for (const [method, fields] of unanswered(request)) sending.sendImmediately(method, fields);
  }
  answers.push(ask(channel, last));
  await Promise.all(answers);
}

function ask(channel: Channel, request: TopologyRequest): Promise<unknown> {
  switch (request.kind) {
    case "exchange":
      return declareExchange(channel, request);
    case "queue":
      return channel.assertQueue(request.name, { durable: true, arguments: request.arguments });
    case "binding":
      return channel.bindQueue(request.queue, request.exchange, request.key);
    default:
      return request satisfies never;
  }
}

/** Declares an exchange, and binds the exchange that it passes to. */
export async function declareExchange(
  channel: Channel,
  { name, type, arguments: args, passesTo }: ExchangeSpec,
): Promise<void> {
  // One after the other: where the first is refused, amqplib would reject the second first, without the reason.
  await channel.assertExchange(name, type, { durable: true, arguments: args ?? {} });
  if (passesTo !== undefined) await channel.bindExchange(passesTo.exchange, name, passesTo.key);
}

function unanswered(request: TopologyRequest): readonly (readonly [method: number, fields: object])[] {
  const rest = (args: QueueArguments = {}): object => ({ ticket: 0, nowait: true, arguments: { ...args } });
  const durable = { durable: true, autoDelete: false, passive: false };
  switch (request.kind) {
    case "exchange": {
      const { name, type, passesTo } = request;
      const fields = { exchange: name, type, internal: false, ...durable, ...rest(request.arguments) };
      const declaring = [EXCHANGE_DECLARE, fields] as const;
      if (passesTo === undefined) return [declaring];
      const { exchange: destination, key: routingKey } = passesTo;
      return [declaring, [EXCHANGE_BIND, { destination, source: name, routingKey, ...rest() }]];
    }
    case "queue":
      return [
        [QUEUE_DECLARE, { queue: request.name, exclusive: false, ...durable, ...rest(request.arguments) }],
      ];
    case "binding": {
      const { queue, exchange, key } = request;
      return [[QUEUE_BIND, { queue, exchange, routingKey: key, ...rest() }]];
    }
    default:
      return request satisfies never;
  }
}
