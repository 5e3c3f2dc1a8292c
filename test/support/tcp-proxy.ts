/** A TCP proxy in front of the broker under test, whose connections can be counted, listened to, muted, refused and cut. */

import { createServer, type Server, type Socket, connect as tcp } from "node:net";
import { createServer as createTlsServer, type TlsOptions } from "node:tls";
import { testBrokerUrl } from "./rabbitmq.ts";

/** With TLS options it takes TLS connections and speaks plainly to the broker, which is the one under test if not given. */
export class TcpProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #protocol: "amqp:" | "amqps:";
  readonly #brokerUrl: string;
  /** Connections taken so far. */
  opened = 0;
  /** Told what clients send, before the broker gets it. */
  onRequest: ((bytes: Buffer) => void) | undefined;
  /** The broker takes everything and nothing that it says arrives. */
  muted = false;
  /** New connections are closed at once. */
  refusing = false;

  constructor(tls?: TlsOptions, brokerUrl: string = testBrokerUrl()) {
    this.#brokerUrl = brokerUrl;
    this.#protocol = tls === undefined ? "amqp:" : "amqps:";
    const take = (client: Socket): void => this.#take(client);
    this.#server = tls === undefined ? createServer(take) : createTlsServer(tls, take);
  }

  #take(client: Socket): void {
    this.opened += 1;
    if (this.refusing) {
      client.destroy();
      return;
    }
    const { hostname, port } = new URL(this.#brokerUrl);
    const upstream = tcp(Number(port || 5672), hostname);
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      this.#sockets.add(from);
      from.on("error", () => undefined);
      from.on("close", () => {
        this.#sockets.delete(from);
        to.destroy();
      });
    }
    client.on("data", (bytes) => {
      this.onRequest?.(bytes);
      upstream.write(bytes);
    });
    upstream.on("data", (bytes) => {
      if (!this.muted) client.write(bytes);
    });
  }

  /** Resolves with the broker's URL through the proxy. */
  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("the proxy has no port");
    return this.#brokerUrl
      .replace(/^amqps?:/, this.#protocol)
      .replace(/(^[^/]+\/\/(?:[^@/]*@)?)[^/?]+/, `$1127.0.0.1:${address.port}`);
  }

  /** Connections open now. */
  get connections(): number {
    return this.#sockets.size / 2;
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): Promise<void> {
    this.cut();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }
}
