/** A requester in the process of its service, on the embedded broker. */

import { Broker, Service } from "../../confluo.ts";
import { type Body, type Requester, unsupported } from "../../variants/variant.ts";

export async function callService(): Promise<Requester["call"]> {
  const broker = new Broker("memory:");
  await new Service("service").route("/work", ({ body }) => body).connect(broker);
  const own = await new Service("requester").connect(broker);
  return async (body) => (await own.call("service", "/work", body)).body as Body;
}

/** One that can do nothing but call. */
export function requesterOf(call: Requester["call"]): Requester {
  return { call, publish: unsupported, send: unsupported, close: async () => undefined };
}
