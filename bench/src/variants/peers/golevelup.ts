/** golevelup's RabbitMQ module for NestJS. */

import "reflect-metadata";
import {
  AmqpConnection,
  type QueueOptions,
  type RabbitMQConfig,
  RabbitMQModule,
  RabbitRPC,
  RabbitSubscribe,
} from "@golevelup/nestjs-rabbitmq";
import { type DynamicModule, Injectable, type Type } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import {
  type Body,
  type Closable,
  type Handler,
  isPlain,
  type Surroundings,
  type Variant,
} from "../variant.ts";
import { decorateMethod } from "./decorate.ts";
import { quorum } from "./quorum.ts";

interface Settings {
  readonly title: string;
  readonly settings: string;
  readonly options: Partial<RabbitMQConfig>;
  /** The queues of events and one-way commands. */
  readonly queueOptions: QueueOptions;
  /** Whether events and one-way commands are. */
  readonly persistent: boolean;
}

const CONFIRMED = "requests and answers are confirmed, which cannot be turned off";

/** As its documentation begins. */
export const golevelup: Variant = golevelupVariant({
  title: "golevelup",
  settings: `prefetch 10, nothing persistent; ${CONFIRMED}`,
  options: {},
  queueOptions: {},
  persistent: false,
});

/** With all that it offers. */
export const golevelupBest: Variant = golevelupVariant({
  title: "golevelup, tuned",
  settings: `Nagle off, prefetch 128; events and one-way commands persistent in quorum queues; ${CONFIRMED}`,
  options: { prefetchCount: 128, connectionManagerOptions: { connectionOptions: { noDelay: true } } },
  queueOptions: { arguments: quorum },
  persistent: true,
});

function golevelupVariant({ title, settings, options, queueOptions, persistent }: Settings): Variant {
  const start = async (
    { broker, name }: Surroundings,
    providers: Type[],
  ): Promise<{ readonly connection: AmqpConnection } & Closable> => {
    class App {}
    const app: DynamicModule = {
      module: App,
      imports: [RabbitMQModule.forRoot({ ...options, uri: broker, exchanges: [{ name, type: "topic" }] })],
      providers,
    };
    const context = await NestFactory.createApplicationContext(app, { logger: false });
    return { connection: context.get(AmqpConnection), close: () => context.close() };
  };
  return {
    title,
    settings,
    loads: ["calls", "arrivals", "events", "sends"],
    supports: isPlain,
    handle: async (surroundings, service, handler) => {
      const { name, case: measured } = surroundings;
      const { kind } = measured.load;
      const where = { exchange: name, routingKey: "work", queue: `${name}.${service}` };
      const { close } = await start(surroundings, [
        kind === "calls" || kind === "arrivals"
          ? providerOf(RabbitRPC(where), handler)
          : providerOf(RabbitSubscribe({ ...where, queueOptions }), async (body) => {
              await handler(body);
            }),
      ]);
      return { close };
    },
    request: async (surroundings) => {
      const { name: exchange } = surroundings;
      const { connection, close } = await start(surroundings, []);
      const publish = async (body: Body): Promise<void> => {
        await connection.publish(exchange, "work", body, { persistent });
      };
      return {
        call: (payload) => connection.request<Body>({ exchange, routingKey: "work", payload }),
        publish,
        send: publish,
        close,
      };
    },
  };
}

function providerOf(
  decorator: MethodDecorator,
  handler: (body: Body) => ReturnType<Handler> | Promise<void>,
): Type {
  class WorkService {
    work(body: Body): ReturnType<Handler> | Promise<void> {
      return handler(body);
    }
  }
  decorateMethod(decorator, WorkService, "work");
  Injectable()(WorkService);
  return WorkService;
}
