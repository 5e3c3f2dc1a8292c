/** One AMQP connection: opened within a time limit, with Nagle off and its writes gathered once per event-loop turn. */

import type { Duplex } from "node:stream";
import { type Channel, type ChannelModel, type ConfirmChannel, connect, credentials } from "amqplib";
import type { BrokerUrl } from "./broker-url.ts";
import { connectFailure } from "./failure.ts";
import type { TlsOptions } from "./tls-options.ts";

/** How to open a connection. */
export interface ConnectionOptions {
  readonly url: BrokerUrl;
  readonly tls: TlsOptions | undefined;
  /** Shown in RabbitMQ's management. */
  readonly name: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

const CLOSE_MS = 2_000;

/** @throws `BROKER_UNREACHABLE`, `ACCESS_REFUSED`. */
export async function openConnection(options: ConnectionOptions): Promise<Connection> {
  const { url, tls, name, timeoutMs, signal } = options;
  const { authentication, ...tlsOptions } = tls ?? {};
  const attempt = connect(url.href, {
    ...(tlsOptions as object),
    ...(authentication === "certificate" ? { credentials: credentials.external() } : {}),
    noDelay: true,
    keepAlive: true,
    timeout: timeoutMs,
    clientProperties: { connection_name: name },
  });
  try {
    const model = await withDeadline(attempt, timeoutMs, signal);
    return new Connection(model);
  } catch (error) {
    // It may still open after nobody waits for it.
    attempt.then((model) => model.on("error", ignore).close()).catch(ignore);
    throw connectFailure(error, url.shown);
  }
}

function ignore(): void {}

async function withDeadline<T>(promise: Promise<T>, timeoutMs: number, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  let end: (() => void) | undefined;
  try {
    return await new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
      const abort = (): void => reject(signal.reason);
      signal.addEventListener("abort", abort, { once: true });
      end = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", abort);
      };
      promise.then(resolve, reject);
    });
  } finally {
    end?.();
  }
}

/** An open connection. `lost` resolves when it is gone, with the error if it was not closed from here. */
export class Connection {
  readonly lost: Promise<Error | undefined>;
  readonly #model: ChannelModel;
  readonly #stream: Duplex | undefined;
  #open = true;
  #closing = false;

  constructor(model: ChannelModel) {
    this.#model = model;
    // amqplib does not document its socket; without it everything works, one write per frame.
    this.#stream = (model.connection as { readonly stream?: Duplex }).stream;
    if (this.#stream !== undefined) gatherWrites(this.#stream);
    this.lost = new Promise((resolve) => {
      let failure: Error | undefined;
      model.on("error", (error) => {
        failure ??= error;
      });
      model.on("close", (error?: Error) => {
        this.#open = false;
        resolve(
          this.#closing ? undefined : (failure ?? error ?? new Error("the broker closed the connection")),
        );
      });
    });
  }

  get open(): boolean {
    return this.#open && !this.#closing;
  }

  async channel(): Promise<Channel> {
    return quiet(await this.#model.createChannel());
  }

  async confirmChannel(): Promise<ConfirmChannel> {
    return quiet(await this.#model.createConfirmChannel());
  }

  /** Gives the connection up without a farewell. */
  abandon(reason: Error): void {
    this.#stream?.destroy(reason);
  }

  /** What was written before goes out first. A broker that does not answer is left after two seconds. */
  async close(): Promise<void> {
    if (this.#closing) return void (await this.lost);
    this.#closing = true;
    if (!this.#open) return;
    const timer = setTimeout(
      () => this.#stream?.destroy(new Error("the broker did not close in time")),
      CLOSE_MS,
    );
    // A socket that ends during the handshake leaves amqplib's own promise pending: `lost` is what tells.
    Promise.resolve()
      .then(() => this.#model.close())
      .catch(ignore);
    await this.lost;
    clearTimeout(timer);
  }
}

// An 'error' without a listener would end the process; each channel's owner hears of its 'close' in any case.
function quiet<C extends Channel>(channel: C): C {
  channel.on("error", ignore);
  return channel;
}

/**
 * One system call per event-loop turn instead of one per frame. amqplib hands its frames to the socket in a
 * `setImmediate`, all of a turn in one go; the cork ends right after it.
 */
function gatherWrites(stream: Duplex): void {
  const write = stream.write.bind(stream) as (...args: unknown[]) => boolean;
  let corked = false;
  const uncork = (): void => {
    corked = false;
    stream.uncork();
  };
  stream.write = ((...args: unknown[]) => {
    if (!corked) {
      corked = true;
      stream.cork();
      process.nextTick(uncork);
    }
    return write(...args);
  }) as typeof stream.write;
}
