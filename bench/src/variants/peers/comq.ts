/** ComQ. It has no second variant: but for the URL there is nothing to set. */

import { connect } from "comq";
import { type Body, isPlain, type Variant } from "../variant.ts";

export const comq: Variant = {
  title: "ComQ",
  settings: "Nagle on, prefetch 300, classic queues, its own amqplib 0.10: none of it can be set",
  loads: ["calls", "arrivals", "events", "sends"],
  supports: isPlain,
  handle: async ({ broker, name, case: { load } }, service, handler) => {
    const io = await connect(broker);
    const consume = async (body: Body): Promise<void> => void (await handler(body));
    switch (load.kind) {
      case "calls":
      case "arrivals":
        await io.reply(`${name}.${service}`, handler);
        break;
      case "events":
        await io.consume(`${name}.work-done`, service, consume);
        break;
      case "sends":
        await io.process(`${name}.${service}`, consume);
        break;
      default:
        load satisfies never;
    }
    return { close: () => io.close() };
  },
  request: async ({ broker, name }) => {
    const io = await connect(broker);
    return {
      call: async (body) => (await io.request<Body, Body>(`${name}.service-0`, body)) as Body,
      publish: (body) => io.emit(`${name}.work-done`, body),
      send: (body) => io.enqueue(`${name}.service-0`, body),
      close: () => io.close(),
    };
  },
};
