/** confluo, as its users write it. */

import { Broker, command, event, Service, type ServiceOptions } from "../confluo.ts";
import { bodySchema } from "./schema.ts";
import type { Body, Surroundings, Variant } from "./variant.ts";

/** confluo as it comes. */
export const confluo: Variant = confluoVariant("confluo", "", {});

/** confluo with one message a call. */
export const confluoSingle: Variant = confluoVariant("confluo, not batching", "batching: { maxCalls: 1 }", {
  batching: { maxCalls: 1 },
});

function confluoVariant(title: string, settings: string, options: ServiceOptions): Variant {
  return {
    title,
    settings,
    loads: ["calls", "arrivals", "events", "sends"],
    handle: async (surroundings, service, handler) => {
      const { load, beside, schema } = surroundings.case;
      const broker = brokerOf(surroundings);
      const own = new Service(service, options);
      if (load.kind === "events") {
        for (let i = 0; i < beside; i += 1) own.subscribe(`/beside/${i}`, () => undefined);
        own.subscribe(schema ? done : "/work/done", async ({ body }) => void (await handler(body as Body)));
      } else {
        for (let i = 0; i < beside; i += 1) own.route(`/beside/${i}`, () => undefined);
        own.route(schema ? work : "/work", ({ body }) => handler(body as Body));
      }
      await own.connect(broker);
      return { close: () => own.shutdown() };
    },
    request: async (surroundings) => {
      const { schema } = surroundings.case;
      const own = await new Service("requester", options).connect(brokerOf(surroundings));
      return {
        call: schema
          ? async (body) => (await own.call(work, body)).body
          : async (body) => (await own.call("service-0", "/work", body)).body as Body,
        publish: schema ? (body) => own.publish(done, body) : (body) => own.publish("/work/done", body),
        send: schema ? (body) => own.send(work, body) : (body) => own.send("service-0", "/work", body),
        close: () => own.shutdown(),
      };
    },
  };
}

const work = command("service-0", "/work", { input: bodySchema, output: bodySchema });
const done = event("/work/done", { body: bodySchema });

function brokerOf({ broker, name }: Surroundings): Broker {
  return new Broker(broker, { namespace: name });
}
