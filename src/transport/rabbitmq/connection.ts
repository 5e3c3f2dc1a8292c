/**
 * One AMQP connection: opened within a time limit, without Nagle's algorithm, with its writes gathered once per turn of the
 * event loop.
 */

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

/** The options of a connection. */
export interface ConnectionOptions {
  readonly url: BrokerUrl;
  readonly tls: TlsOptions | undefined;
  /** The name of the connection in RabbitMQ's management. */
  readonly name: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** True if deliveries must contain the encoded header table. */
  readonly keepsHeaders?: boolean | undefined;
}

/** A size of frames, in bytes, that every broker accepts. */
const SAFE_FRAME = 8_192;
const ANSWER_MS = 10_000;
const QUEUE_ANSWER_MS = 5_000;
const PROMPT_MS = 500;
const NO_LIMIT = 0xffff_ffff;
/**
 * The bytes that a socket takes and gives at a time. With Node's 16 KiB, a turn of some hundred calls is written and read in
 * several steps.
 */
const SOCKET_BYTES = 128 * 1024;
const CLOSE_MS = 1_200;

/**
 * Opens a connection.
 *
 * @throws `BROKER_UNREACHABLE`, `ACCESS_REFUSED`, `UNAVAILABLE`, `INVALID_ARGUMENT`.
 */
export async function openConnection(options: ConnectionOptions): Promise<Connection> {
  const { url, tls, name, timeoutMs, signal, keepsHeaders } = options;
  const { authentication, ...given } = tls ?? {};
  // Node does not replace an option that is `undefined` by its default.
  const tlsOptions = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  // Ends the socket of an attempt that was given up. Otherwise it would keep the process running until its own timeout.
  const socket = new AbortController();
  // amqplib's own parser of the URL is not used, because it supports only characters of Latin 1.
  const login =
    authentication === "certificate" ? credentials.external() : credentials.plain(url.user, url.password);
  const attempt = connect(url.href, {
    ...({ ...tlsOptions, signal: socket.signal } as object),
    credentials: login,
    noDelay: true,
    keepAlive: true,
    ...({ highWaterMark: SOCKET_BYTES } as object),
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
        `The broker at ${url.shown} does not accept frames as small as the parameter frameMax of its address: ` +
          `${url.frameMax} bytes. RabbitMQ 4.1 and later require ${SAFE_FRAME} or more: leave the parameter out.`,
        { cause: error },
      );
    throw connectFailure(error, url.shown, refused === "opened" ? undefined : refused?.words);
  }
}

function ignore(): void {}

/**
 * Checks TLS options. Options that OpenSSL cannot read would fail at every attempt to connect.
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

// Reads the description of a broker. AMQP does not prescribe what a broker says.
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

/**
 * An open connection. `lost` resolves when the connection is gone: with the error, or with `undefined` if it was closed from
 * here.
 */
export class Connection {
  readonly lost: Promise<Error | undefined>;
  readonly server: ServerInfo;
  /** The largest frame that was negotiated, in bytes. */
  readonly frameBytes: number;
  readonly #model: ChannelModel;
  readonly #stream: Duplex | undefined;
  #open = true;
  #closing = false;
  /** Is called with the broker's reason when it accepts no more messages, and with `undefined` when it accepts them again. */
  onBlocked: (reason: string | undefined) => void = ignore;

  /** @param adapt changes how amqplib's connection receives frames. */
  constructor(model: ChannelModel, adapt: (connection: FrameReader) => void = ignore) {
    this.#model = model;
    this.server = serverOf(
      (model.connection as { readonly serverProperties?: Record<string, unknown> }).serverProperties,
    );
    // Not documented by amqplib. AMQP's largest number means that there is no limit.
    this.frameBytes = (model.connection as { readonly frameMax?: number }).frameMax ?? NO_LIMIT;
    // Not documented by amqplib. Without the socket everything works, but each frame is written by itself.
    this.#stream = (model.connection as { readonly stream?: Duplex }).stream;
    if (this.#stream !== undefined) {
      gatherWrites(this.#stream);
      writeFramesAtOnce(model.connection as FrameWriter, this.#stream);
    }
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
   * Resolves with the broker's answer to a request. If no answer comes within 10 s, the connection is destroyed, because a
   * broker that accepts a connection and does not answer is of no use.
   */
  answered<Value>(what: string, request: Promise<Value>): Promise<Value> {
    return withinHeardMs(ANSWER_MS, request, () => {
      const silent = new Error(`the broker did not ${what} within ${ANSWER_MS} ms`);
      this.giveUp(silent);
      return silent;
    });
  }

  /**
   * Resolves with the broker's answer to a request about one queue. The queue may be on a node of a cluster that is down, while
   * the broker answers other requests. Then only this request is given up, with its channel.
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
    // If the sign of life came at once, only this request is not answered. If it came late, the connection was silent and the
    // answer is coming.
    if (!isAnswered && performance.now() - asked < PROMPT_MS) throw silent;
    return withinHeardMs(QUEUE_ANSWER_MS, request, () => silent);
  }

  /** Resolves when the broker answers any request. It has no timeout of its own. */
  async signOfLife(): Promise<void> {
    const channel = quiet(await this.#model.createChannel());
    // Not awaited: amqplib never settles the close of a channel whose connection breaks meanwhile.
    Promise.resolve()
      .then(() => channel.close())
      .catch(ignore);
  }

  /** Destroys the connection without closing it in order. `lost` resolves with the reason. */
  giveUp(reason: Error): void {
    this.#stream?.destroy(reason);
  }

  /**
   * Closes the connection after frames that were written before have been sent. If the broker does not answer within 1.2 s, it
   * is destroyed.
   */
  async close(): Promise<void> {
    if (this.#closing) return void (await this.lost);
    this.#closing = true;
    if (!this.#open) return;
    const timer = setTimeout(
      () => this.#stream?.destroy(new Error("the broker did not close in time")),
      CLOSE_MS,
    );
    // amqplib's own promise stays pending if the socket ends during the handshake, so `lost` is awaited instead.
    Promise.resolve()
      .then(() => this.#model.close())
      .catch(ignore);
    await this.lost;
    clearTimeout(timer);
  }
}

// An 'error' event without a listener would end the process. The owner of the channel learns of the failure by 'close'.
function quiet<C extends Channel>(channel: C): C {
  channel.on("error", ignore);
  return channel;
}

/**
 * Gathers the writes of one callback of the event loop into one system call.
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

/** Takes the frames of a channel. amqplib's own is a stream, which tells how much it holds. */
interface FrameSink {
  write(frame: Buffer): boolean;
  end(): void;
  readonly readableLength?: number;
  readonly writableLength?: number;
}

/** The parts of amqplib's connection that are used here. They are not documented; without them everything works, but slower. */
interface FrameWriter {
  /** Writes what the channels have buffered, in turns. `blocked` while the socket takes nothing more. */
  readonly muxer?: { blocked?: boolean };
  readonly channels?: ({ buffer: FrameSink } | null)[];
  freshChannel?(...args: unknown[]): number;
}

/**
 * Makes the frames of each channel go to the socket at once, while it takes them. amqplib passes each frame through a stream of
 * its channel and writes it a turn later, which costs more than all else that it does for a message. The streams are used
 * while the socket is full: then amqplib lets the channels take turns.
 */
function writeFramesAtOnce(connection: FrameWriter, stream: Duplex): void {
  const { muxer, channels } = connection;
  const fresh = connection.freshChannel?.bind(connection);
  if (fresh === undefined || channels === undefined || typeof muxer?.blocked !== "boolean") return;
  connection.freshChannel = (...args) => {
    const number = fresh(...args);
    const channel = channels[number];
    const buffer = channel?.buffer;
    if (!channel || buffer?.readableLength === undefined) return number;
    channel.buffer = {
      write: (frame) => {
        // The frames in the buffer go first.
        if (muxer.blocked || buffer.readableLength !== 0 || buffer.writableLength !== 0)
          return buffer.write(frame);
        muxer.blocked = !stream.write(frame);
        return true;
      },
      end: () => buffer.end(),
    };
    return number;
  };
}
