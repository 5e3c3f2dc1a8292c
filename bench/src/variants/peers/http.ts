/** Plain HTTP between two services, without a broker: Fastify answers, undici asks. */

import type { AddressInfo } from "node:net";
import fastify from "fastify";
import { Pool } from "undici";
import { type Body, unsupported, type Variant } from "../variant.ts";
import { isOneHandler, sharePort, takePort } from "./direct.ts";

/** A connection carries one request at a time: more of them are open at once, and further requests wait for one. */
const CONNECTIONS = 64;

const schema = {
  response: {
    200: { type: "object", properties: { id: { type: "integer" }, text: { type: "string" } } },
  },
};

export const http: Variant = {
  title: "HTTP: Fastify and undici",
  settings: `no broker; answers by a JSON schema, a pool of ${CONNECTIONS} connections; nothing confirmed, one handler only`,
  loads: ["calls", "arrivals"],
  supports: isOneHandler,
  handle: async (surroundings, _service, handler) => {
    const app = fastify();
    app.post("/work", { schema }, ({ body }) => Promise.resolve(handler(body as Body)));
    await app.listen({ host: "127.0.0.1", port: 0 });
    await sharePort(surroundings, (app.server.address() as AddressInfo).port);
    return { close: () => app.close() };
  },
  request: async (surroundings) => {
    const pool = new Pool(`http://127.0.0.1:${await takePort(surroundings)}`, { connections: CONNECTIONS });
    const headers = { "content-type": "application/json" };
    return {
      call: async (sent) => {
        const { statusCode, body } = await pool.request({
          path: "/work",
          method: "POST",
          headers,
          body: JSON.stringify(sent),
        });
        if (statusCode !== 200) throw new Error(`The handler answered ${statusCode}.`);
        return (await body.json()) as Body;
      },
      publish: unsupported,
      send: unsupported,
      close: () => pool.close(),
    };
  },
};
