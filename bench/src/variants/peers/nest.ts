/** NestJS microservices on RabbitMQ. */

import "reflect-metadata";
import { Controller, Logger, type Type } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import {
  type ClientProxy,
  ClientProxyFactory,
  Ctx,
  EventPattern,
  MessagePattern,
  type MicroserviceOptions,
  Payload,
  type RmqContext,
  type RmqOptions,
  Transport,
} from "@nestjs/microservices";
import type { Channel, ConsumeMessage } from "amqplib";
import { firstValueFrom } from "rxjs";
import { type Body, type Handler, isPlain, type Surroundings, type Variant } from "../variant.ts";
import { decorateMethod } from "./decorate.ts";
import { quorum } from "./quorum.ts";

type Rmq = NonNullable<RmqOptions["options"]>;

const CONFIRMED = "requests and answers are confirmed, which cannot be turned off";

/** As its documentation begins. */
export const nest: Variant = nestVariant({
  title: "NestJS",
  settings: `queues not durable, nothing acknowledged or persistent; events through a topic exchange; ${CONFIRMED}`,
  acknowledges: false,
  both: () => ({ queueOptions: { durable: false } }),
  server: {},
});

/** With all that its RabbitMQ transporter offers. */
export const nestBest: Variant = nestVariant({
  title: "NestJS, tuned",
  settings: `Nagle off, prefetch 128, manual acknowledgement; events and one-way commands persistent in quorum queues; ${CONFIRMED}`,
  acknowledges: true,
  both: ({ case: { load } }) => {
    const isKept = load.kind === "events" || load.kind === "sends";
    return {
      socketOptions: { connectionOptions: { noDelay: true } },
      persistent: isKept,
      queueOptions: { durable: true, arguments: isKept ? quorum : {} },
    };
  },
  server: { noAck: false, prefetchCount: 128 },
});

interface Settings {
  readonly title: string;
  readonly settings: string;
  /** Whether the handlers acknowledge. */
  readonly acknowledges: boolean;
  /** Options of client and server. */
  both(surroundings: Surroundings): Rmq;
  readonly server: Rmq;
}

function nestVariant({ title, settings, acknowledges, both, server }: Settings): Variant {
  const optionsFor = (surroundings: Surroundings, service: string): Rmq => {
    const { broker, name, case: measured } = surroundings;
    const options: Rmq = { ...both(surroundings), urls: [broker], queue: `${name}.${service}` };
    // Its way to have an event handled by several services.
    return measured.load.kind === "events"
      ? { ...options, wildcards: true, exchange: `${name}.events` }
      : options;
  };
  return {
    title,
    settings,
    loads: ["calls", "arrivals", "events", "sends"],
    supports: isPlain,
    handle: async (surroundings, service, handler) => {
      const { kind } = surroundings.case.load;
      const pattern = kind === "calls" || kind === "arrivals" ? MessagePattern("work") : EventPattern("work");
      const controller = controllerOf(pattern, acknowledges ? acknowledging(handler) : handler);
      class App {}
      const app = await NestFactory.createMicroservice<MicroserviceOptions>(
        { module: App, controllers: [controller] },
        {
          transport: Transport.RMQ,
          options: { ...optionsFor(surroundings, service), ...server },
          logger: false,
        },
      );
      await app.listen();
      return { close: () => app.close() };
    },
    request: async (surroundings) => {
      Logger.overrideLogger(false);
      const client: ClientProxy = ClientProxyFactory.create({
        transport: Transport.RMQ,
        options: optionsFor(surroundings, "service-0"),
      });
      await client.connect();
      const emit = (body: Body): Promise<void> => firstValueFrom(client.emit<void, Body>("work", body));
      return {
        call: (body) => firstValueFrom(client.send<Body, Body>("work", body)),
        publish: emit,
        send: emit,
        close: async () => void (await client.close()),
      };
    },
  };
}

type Method = (body: Body, context: RmqContext) => Body | Promise<Body>;

function controllerOf(pattern: MethodDecorator, method: Method): Type {
  class WorkController {
    work(body: Body, context: RmqContext): Body | Promise<Body> {
      return method(body, context);
    }
  }
  Payload()(WorkController.prototype, "work", 0);
  Ctx()(WorkController.prototype, "work", 1);
  decorateMethod(pattern, WorkController, "work");
  Controller()(WorkController);
  return WorkController;
}

function acknowledging(handler: Handler): Method {
  return async (body, context) => {
    const answer = await handler(body);
    const channel = context.getChannelRef() as Channel;
    channel.ack(context.getMessage() as ConsumeMessage);
    return answer;
  };
}
