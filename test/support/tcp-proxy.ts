/**
 * A TCP proxy in front of the broker under test, whose connections can be counted, listened to, muted, delayed, stalled,
 * refused and cut.
 */

import { createServer, type Server, type Socket, connect as tcp } from "node:net";
import { createServer as createTlsServer, type TlsOptions } from "node:tls";
import { testBrokerUrl } from "./rabbitmq.ts";

/** Which way bytes go. */
export type Direction = "to broker" | "from broker";

/** With TLS options it takes TLS connections and speaks plainly to the broker, which is the one under test if not given. */
export class TcpProxy {
  readonly #server: Server;
  readonly #pipes = new Set<Pipe>();
  readonly #stalled = new Set<Direction>();
  readonly #protocol: "amqp:" | "amqps:";
  readonly #brokerUrl: string;
  #latencyMs = 0;
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
    const heard = (bytes: Buffer): boolean => {
      this.onRequest?.(bytes);
      return true;
    };
    this.#open("to broker", new Pipe(client, upstream, heard));
    this.#open("from broker", new Pipe(upstream, client, () => !this.muted));
  }

  #open(direction: Direction, pipe: Pipe): void {
    this.#pipes.add(pipe);
    pipe.direction = direction;
    pipe.latencyMs = this.#latencyMs;
    if (this.#stalled.has(direction)) pipe.stall();
    pipe.from.once("close", () => this.#pipes.delete(pipe));
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
    return this.#pipes.size / 2;
  }

  /** How long each piece of data is on its way, in either direction, in milliseconds. */
  set latencyMs(ms: number) {
    this.#latencyMs = ms;
    for (const pipe of this.#pipes) pipe.latencyMs = ms;
  }

  /** Nothing gets through any more in this direction, the end of a connection included; nothing of it is lost. */
  stall(direction: Direction): void {
    this.#stalled.add(direction);
    for (const pipe of this.#pipes) if (pipe.direction === direction) pipe.stall();
  }

  /** Ends all stalls. */
  flow(): void {
    this.#stalled.clear();
    for (const pipe of this.#pipes) pipe.flow();
  }

  cut(): void {
    for (const { from } of this.#pipes) from.destroy();
  }

  /** Ends all connections with a TCP reset, on both sides. */
  reset(): void {
    for (const { from } of this.#pipes) from.resetAndDestroy();
  }

  /** Ends each connection that has something to say in this direction, a few bytes before the end of it. */
  cutInsideFrame(direction: Direction): void {
    for (const pipe of this.#pipes) if (pipe.direction === direction) pipe.cutsNext = true;
  }

  close(): Promise<void> {
    this.cut();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }
}

/** One direction of one connection. */
class Pipe {
  direction: Direction = "to broker";
  readonly from: Socket;
  readonly #to: Socket;
  readonly #lets: (bytes: Buffer) => boolean;
  readonly #underWay: { readonly bytes: Buffer; readonly arrivesAt: number }[] = [];
  #timer: NodeJS.Timeout | undefined;
  latencyMs = 0;
  cutsNext = false;

  /** @param lets Told each piece of data; says whether it gets through. */
  constructor(from: Socket, to: Socket, lets: (bytes: Buffer) => boolean) {
    this.from = from;
    this.#to = to;
    this.#lets = lets;
    from.on("error", () => undefined);
    from.on("data", (bytes: Buffer) => this.#take(bytes));
    from.on("close", () => {
      clearTimeout(this.#timer);
      to.destroy();
    });
  }

  stall(): void {
    this.from.pause();
  }

  flow(): void {
    this.from.resume();
  }

  #take(bytes: Buffer): void {
    if (!this.#lets(bytes)) return;
    if (this.cutsNext) {
      // No frame is shorter than eight bytes, and a piece ends with the end of one.
      this.#to.end(bytes.subarray(0, Math.max(1, bytes.length - 3)));
      this.from.destroy();
      return;
    }
    if (this.latencyMs === 0 && this.#underWay.length === 0) {
      this.#to.write(bytes);
      return;
    }
    this.#underWay.push({ bytes, arrivesAt: performance.now() + this.latencyMs });
    this.#timer ??= setTimeout(this.#arrive, this.latencyMs);
  }

  readonly #arrive = (): void => {
    this.#timer = undefined;
    const now = performance.now();
    let next = this.#underWay[0];
    while (next !== undefined && next.arrivesAt <= now) {
      this.#to.write(next.bytes);
      this.#underWay.shift();
      next = this.#underWay[0];
    }
    if (next !== undefined) this.#timer = setTimeout(this.#arrive, next.arrivesAt - now);
  };
}
