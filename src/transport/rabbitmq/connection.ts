/** One AMQP connection: opened within a time limit, with Nagle off and its writes gathered once per event-loop turn. */

import type { Duplex } from "node:stream";
import { createSecureContext, type SecureContextOptions } from "node:tls";
import type { Channel, ChannelModel, ConfirmChannel } from "amqplib";
import { untilAborted, withinHeardMs, withinMs } from "../../async/abort.ts";
import { ConfluoError, describeThrown } from "../../errors.ts";
import { takeBackRequire } from "../../lent-require.ts";
import type { ServerInfo } from "../amqp-client.ts";
import { connect, credentials } from "./amqplib.ts";
import type { BrokerUrl } from "./broker-url.ts";
import { keepHeaderBytes } from "./consuming/header-bytes.ts";
import { type FrameReader, readUnreadableHeadersAsNone } from "./consuming/unreadable-headers.ts";
import { connectFailure, isBrokenOff, isOpenRefused } from "./failure.ts";
import { openRefusal } from "./open-refusal.ts";
import type { TlsOptions } from "./tls-options.ts";

takeBackRequire();

/** How to open a connection. */
export interface ConnectionOptions {
  readonly url: BrokerUrl;
  readonly tls: TlsOptions | undefined;
  /** Shown in RabbitMQ's management. */
  readonly name: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** True if deliveries hold the bytes of their header tables. */
  readonly keepsHeaders?: boolean | undefined;
}

/** Every broker takes frames of that size. */
const SAFE_FRAME = 8_192;
const ANSWER_MS = 10_000;
const QUEUE_ANSWER_MS = 5_000;
const PROMPT_MS = 500;
const NO_LIMIT = 0xffff_ffff;
const CLOSE_MS = 1_200;

/** @throws `BROKER_UNREACHABLE`, `ACCESS_REFUSED`. */
export async function openConnection(options: ConnectionOptions): Promise<Connection> {
  const { url, tls, name, timeoutMs, signal, keepsHeaders } = options;
  const { authentication, ...given } = tls ?? {};
  // Node takes one that is `undefined` for given, instead of its default.
  const tlsOptions = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  // Ends the socket of an attempt that nobody waits for any more: it would hold the process until its own time-out.
  const socket = new AbortController();
  // Not amqplib's own reading of the URL, which knows no characters beyond Latin 1.
  const login =
    authentication === "certificate" ? credentials.external() : credentials.plain(url.user, url.password);
  const attempt = connect(url.href, {
    ...({ ...tlsOptions, signal: socket.signal } as object),
    credentials: login,
    noDelay: true,
    keepAlive: true,
    timeout: timeoutMs,
    clientProperties: { connection_name: name },
  });
  try {
    const model = await untilAborted(
      withinMs(timeoutMs, attempt, () => new Error(`no answer within ${timeoutMs} ms`)),
      signal,
    );
    if (keepsHeaders) return new Connection(model, keepHeaderBytes);
    return new Connection(model);
  } catch (error) {
    attempt.then((model) => model.on("error", ignore)).catch(ignore);
    socket.abort();
    const isSmall = url.frameMax !== undefined && url.frameMax < SAFE_FRAME;
    if (signal.aborted || !(isOpenRefused(error) || (isSmall && isBrokenOff(error))))
      throw connectFailure(error, url.shown);
    const answer = openRefusal(url, login, tlsOptions as SecureContextOptions, timeoutMs);
    const refused = await untilAborted(answer, signal);
    if (refused === "opened" && isSmall)
      throw new ConfluoError(
        "INVALID_ARGUMENT",
        `The broker at ${url.shown} takes no frames as small as the parameter frameMax of its address says: ` +
          `${url.frameMax} bytes. RabbitMQ 4.1 and later want ${SAFE_FRAME} or more: leave it out.`,
        { cause: error },
      );
    throw connectFailure(error, url.shown, refused === "opened" ? undefined : refused?.words);
  }
}

function ignore(): void {}

/**
 * A file that OpenSSL cannot read now, it cannot read at any later attempt either.
 *
 * @throws `INVALID_ARGUMENT`.
 */
export function checkTls({ authentication, ...options }: TlsOptions = {}): void {
  if (Object.keys(options).length === 0) return;
  try {
    createSecureContext(options as SecureContextOptions);
  } catch (cause) {
    const reason = describeThrown(cause).message;
    throw new ConfluoError(
      "INVALID_ARGUMENT",
      `The option tls of Broker cannot be used: ${reason}. ca, cert and key are PEM texts, not file names.`,
      { cause },
    );
  }
}

// AMQP leaves to brokers what they say.
function serverOf(properties: Readonly<Record<string, unknown>> = {}): ServerInfo {
  const { product, version, capabilities } = properties;
  return {
    product: typeof product === "string" ? product : "",
    version: typeof version === "string" ? version : "",
    capabilities: Object.entries(capabilities ?? {}).flatMap(([name, isThere]) =>
      isThere === true ? [name] : [],
    ),
  };
}

/** An open connection. `lost` resolves when it is gone, with the error if it was not closed from here. */
export class Connection {
  readonly lost: Promise<Error | undefined>;
  readonly server: ServerInfo;
  /** The largest frame that was agreed on, in bytes. */
  readonly frameBytes: number;
  readonly #model: ChannelModel;
  readonly #stream: Duplex | undefined;
  #open = true;
  #closing = false;
  /** The broker takes no messages any more, with the reason in its words, or goes on. */
  onBlocked: (reason: string | undefined) => void = ignore;

  /** @param adapt changes how amqplib's connection receives. */
  constructor(model: ChannelModel, adapt: (connection: FrameReader) => void = ignore) {
    this.#model = model;
    this.server = serverOf(
      (model.connection as { readonly serverProperties?: Record<string, unknown> }).serverProperties,
    );
    // Nor is this documented; AMQP's largest number stands for no limit.
    this.frameBytes = (model.connection as { readonly frameMax?: number }).frameMax ?? NO_LIMIT;
    // amqplib does not document its socket; without it everything works, one write per frame.
    this.#stream = (model.connection as { readonly stream?: Duplex }).stream;
    if (this.#stream !== undefined) gatherWrites(this.#stream);
    model.on("blocked", (reason) => this.onBlocked(reason));
    model.on("unblocked", () => this.onBlocked(undefined));
    readUnreadableHeadersAsNone(model.connection as object);
    adapt(model.connection as object);
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
    return quiet(await this.answered("open a channel", this.#model.createChannel()));
  }

  async confirmChannel(): Promise<ConfirmChannel> {
    return quiet(await this.answered("open a channel", this.#model.createConfirmChannel()));
  }

  /**
   * The broker's answer to a request. One that takes a connection and then says nothing is as good as gone: then the
   * connection is given up for it, without a farewell.
   */
  answered<Value>(what: string, request: Promise<Value>): Promise<Value> {
    return withinHeardMs(ANSWER_MS, request, () => {
      const silent = new Error(`the broker did not ${what} within ${ANSWER_MS} ms`);
      this.giveUp(silent);
      return silent;
    });
  }

  /**
   * The broker's answer to a request about one queue, which may lie on a node of a cluster that is down while all the rest
   * answers. Then only this request is given up, with its channel.
   *
   * @throws `UNAVAILABLE`.
   */
  async answeredOrAlive<Value>(what: string, request: Promise<Value>): Promise<Value> {
    const silent = new ConfluoError(
      "UNAVAILABLE",
      `The broker did not ${what} within ${QUEUE_ANSWER_MS} ms, though it answers otherwise: is a node of it down?`,
    );
    try {
      return await withinHeardMs(QUEUE_ANSWER_MS, request, () => silent);
    } catch (error) {
      if (error !== silent) throw error;
    }
    let isAnswered = false;
    const answered = (): void => {
      isAnswered = true;
    };
    const asked = performance.now();
    await Promise.race([request.then(answered, answered), this.answered(what, this.signOfLife())]);
    // Answered at once: it is this request that is not. Answered late: the connection was silent, and the answer is coming.
    if (!isAnswered && performance.now() - asked < PROMPT_MS) throw silent;
    return withinHeardMs(QUEUE_ANSWER_MS, request, () => silent);
  }

  /** Resolves when the broker answers to anything at all; for how long that may take is the caller's affair. */
  async signOfLife(): Promise<void> {
    const channel = quiet(await this.#model.createChannel());
    // Not waited for: amqplib never settles the close of a channel whose connection breaks meanwhile.
    Promise.resolve()
      .then(() => channel.close())
      .catch(ignore);
  }

  /** Ends the connection without a farewell: `lost` tells why. */
  giveUp(reason: Error): void {
    this.#stream?.destroy(reason);
  }

  /** Closes the connection. Frames that were written before go out first. A broker that does not answer is left after a moment. */
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
