/** Starts HTTP servers, and writes answers in JSON. */

import { createServer, type RequestListener, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { ConfluoError } from "../index.ts";
import type { Observed } from "./observed.ts";

/** @throws `INVALID_ARGUMENT` for an address at which the server cannot listen. */
export async function listen(
  { port, host }: { readonly port: number; readonly host?: string | undefined },
  onRequest: RequestListener,
): Promise<Observed> {
  const server = createServer(onRequest);
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause) => {
      const message = `Cannot listen at ${host ?? "*"}:${port}: ${cause.message}.`;
      reject(new ConfluoError("INVALID_ARGUMENT", message, { cause }));
    });
    server.listen(port, host, resolve);
  });
  const { port: actual, address, family } = server.address() as AddressInfo;
  const shown = host === undefined ? "127.0.0.1" : family === "IPv6" ? `[${address}]` : address;
  return {
    url: `http://${shown}:${actual}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Completes a response with one line of JSON. */
export function writeJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json" }).end(`${JSON.stringify(body)}\n`);
}
