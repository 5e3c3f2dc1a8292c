/** What a service sends: calls and their replies, one-way commands, events. Everything here settles. */

import type { AnyCommand } from "../contract/command.ts";
import { parseErrorData } from "../contract/declared-errors.ts";
import type { AnySchema } from "../contract/schema.ts";
import { type ConfluoError, errorFromWire, invalidArgument, RemoteError } from "../errors.ts";
import {
  checkCommandPath,
  checkName,
  eventKey,
  fitsShortString,
  parseTarget,
  SHORT_STRING_BYTES,
} from "../protocol/address.ts";
import { checkHeaders, type EncodedBody, encodeBody, encodeQuery, header } from "../protocol/codec.ts";
import type { Message, Properties } from "../protocol/message.ts";
import { decodeReply, type ReceivedReply } from "../protocol/reply.ts";
import type { Link, Rejection } from "../transport/transport.ts";
import type { Gate } from "../waiting/gate.ts";
import { Backlog } from "./backlog.ts";
import type { Reply } from "./context.ts";
import {
  checkMs,
  checkSignal,
  nestedInCall,
  passed,
  remainingMs,
  timedOut,
  type Waiter,
  waitFor,
} from "./deadline.ts";
import type { NestedCall } from "./dispatch.ts";
import type { Logger } from "./logger.ts";
import {
  type CallOptions,
  type Known,
  knownOptions,
  type MessageOptions,
  type SendOptions,
} from "./options.ts";
import { reconnecting, rejected, tooLarge } from "./request-errors.ts";
import { validated } from "./validation.ts";

/** What requests need of their surroundings. */
export interface RequestParts {
  readonly service: string;
  readonly logger: Logger;
  readonly timeoutMs: number;
  readonly maxBodyBytes: () => number;
  /** Whether the sending side validates, too. */
  readonly validates: boolean;
  newId(): string;
  /**
   * Runs a call to this service itself in this process, if it has to: it is made by a handler of a call while all places
   * for calls are taken, perhaps all of them by handlers that wait for such calls. @returns whether it does.
   */
  runHere(message: Message, call: NestedCall): boolean;
  /** The link, as soon as there is one. Rejects when the service is not connected. */
  link(): Promise<Link>;
  /** Opens when the connection that is lost has been made again; `undefined` while there is one. */
  broken(): Gate | undefined;
}

/** A command to call or send, whether it came as names or as a contract. */
export interface CommandTarget {
  readonly service: string;
  readonly target: string;
  readonly contract: AnyCommand | undefined;
}

/** An event to publish. */
export interface EventTarget {
  readonly target: string;
  readonly schema: AnySchema | undefined;
}

interface Asked {
  readonly id: string;
  readonly waiter: Waiter<Reply>;
}

interface PendingCall {
  readonly waiter: Waiter<Reply>;
  readonly command: CommandTarget;
  readonly path: string;
}

/** A message before it goes out. */
interface Outgoing {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>> | undefined;
  readonly body: EncodedBody;
  /** Rejects with `INVALID_INPUT`. Runs the schema, which may take its time or never end; absent if nothing is to be run. */
  readonly validate: (() => Promise<unknown>) | undefined;
}

const RESEND_MS = 50;

const messageOptions = { timeoutMs: true, signal: true, query: true, headers: true } as const;
const callOptions: Known<CallOptions> = messageOptions;
const sendOptions: Known<SendOptions> = { ...messageOptions, messageId: true, expiresMs: true };

/** The requesting side of a service. */
export class Requests {
  readonly #parts: RequestParts;
  readonly #pending = new Map<string, PendingCall>();
  readonly #unconfirmed = new Map<Waiter<void>, string>();
  readonly #calls = new Backlog("their answers");
  readonly #confirms = new Backlog("the broker to confirm them");
  #whenIdle: (() => void)[] = [];

  constructor(parts: RequestParts) {
    this.#parts = parts;
  }

  async call(command: CommandTarget, body: unknown, given?: CallOptions): Promise<Reply> {
    const options = knownOptions("call", given, callOptions);
    const outgoing = this.#command(command, body, options);
    const { path } = outgoing;
    const what = `${command.service} to answer ${path}`;
    const ms = remainingMs(this.#waitMs(options));
    if (ms < 1) throw timedOut({ ms: 0, what: `${what}: the caller's own deadline has passed` });
    const limits = { ms, what, signal: checkSignal(options.signal) };
    const id = this.#parts.newId();
    const { length } = outgoing.body.bytes;
    this.#calls.add(path, length);
    let held = length;
    const release = (): void => {
      this.#calls.release(held);
      held = 0;
    };
    const start = (waiter: Waiter<Reply>): void => {
      // Registered before it is published: the reply must not come first.
      this.#pending.set(id, { waiter, command, path });
      this.#ask({ id, waiter }, command.service, outgoing, performance.now() + ms).then(
        release,
        waiter.reject,
      );
    };
    const ended = (): void => {
      this.#pending.delete(id);
      release();
      this.#calls.remove();
      this.#released();
    };
    return waitFor(limits, start, ended);
  }

  async #ask({ id, waiter }: Asked, service: string, outgoing: Outgoing, deadline: number): Promise<void> {
    const place = service === this.#parts.service ? nestedInCall() : undefined;
    if (outgoing.validate !== undefined) await outgoing.validate();
    const link = await this.#parts.link();
    if (link.replyTo === "") await link.openReplies();
    while (link.congestion !== undefined && !waiter.over) await passed(link.congestion, waiter);
    const leftMs = Math.floor(deadline - performance.now());
    if (leftMs < 1 || waiter.over) return; // the wait is over, or will be in this very turn
    if (!link.connected || link.replyTo === "") throw reconnecting(this.#parts.service);
    const { path, headers, body } = outgoing;
    const properties: Properties = {
      contentType: body.contentType,
      type: path,
      correlationId: id,
      replyTo: link.replyTo,
      appId: this.#parts.service,
      expiration: String(leftMs),
      mandatory: true,
      ...(headers === undefined ? {} : { headers }),
    };
    const message: Message = { body: body.bytes, properties };
    if (
      place !== undefined &&
      this.#parts.runHere(message, { place, onOver: (callback) => waiter.onEnd(callback) })
    )
      return;
    link.call(service, message, (rejection) => {
      if (rejection !== undefined) this.#pending.get(id)?.waiter.reject(rejected(rejection, service, path));
    });
  }

  async send(command: CommandTarget, body: unknown, given?: SendOptions): Promise<void> {
    const options = knownOptions("send", given, sendOptions);
    const outgoing = this.#command(command, body, options);
    const properties = { ...this.#durable(outgoing, options), type: outgoing.path, mandatory: true } as const;
    const message: Message = { body: outgoing.body.bytes, properties };
    const { service } = command;
    return this.#confirmed(options, service, outgoing, (link, settled) =>
      link.send(service, message, settled),
    );
  }

  async publish({ target, schema }: EventTarget, body: unknown, given?: SendOptions): Promise<void> {
    const options = knownOptions("publish", given, sendOptions);
    const { path, query } = parseTarget(target);
    const key = eventKey(path);
    const outgoing = this.#outgoing(path, query, schema, body, options);
    const message: Message = { body: outgoing.body.bytes, properties: this.#durable(outgoing, options) };
    return this.#confirmed(options, "", outgoing, (link, settled) => link.publish(key, message, settled));
  }

  async #confirmed(
    options: SendOptions,
    service: string,
    outgoing: Outgoing,
    publish: (link: Link, settled: (rejection?: Rejection) => void) => void,
  ): Promise<void> {
    const { path } = outgoing;
    const limits = {
      ms: this.#waitMs(options),
      what: `the broker to confirm ${path}${service === "" ? "" : ` for ${service}`}`,
      signal: checkSignal(options.signal),
    };
    const { length } = outgoing.body.bytes;
    this.#confirms.add(path, length);
    const start = async (waiter: Waiter<void>): Promise<void> => {
      this.#unconfirmed.set(waiter, path);
      own = waiter;
      if (outgoing.validate !== undefined) await outgoing.validate();
      for (;;) {
        const link = await this.#parts.link();
        const closed = this.#parts.broken() ?? link.congestion;
        if (closed !== undefined && !waiter.over) {
          await passed(closed, waiter);
          if (!waiter.over) continue;
        }
        if (waiter.over) return; // what its sender gave up on does not go out
        const rejection = await new Promise<Rejection | undefined>((settled) => publish(link, settled));
        if (rejection === undefined) return waiter.resolve();
        if (rejection !== "lost") throw rejected(rejection, service, path);
        // It may have arrived: it goes out again as the same message.
        await new Promise((resolve) => setTimeout(resolve, RESEND_MS));
      }
    };
    let own: Waiter<void> | undefined;
    return waitFor<void>(
      limits,
      (waiter) => {
        start(waiter).catch(waiter.reject);
      },
      () => {
        if (own !== undefined) this.#unconfirmed.delete(own);
        this.#confirms.release(length);
        this.#confirms.remove();
        this.#released();
      },
    );
  }

  #command(command: CommandTarget, body: unknown, options: MessageOptions): Outgoing {
    checkName(command.service, "service");
    const { path, query } = parseTarget(command.target);
    checkCommandPath(path);
    return this.#outgoing(path, query, command.contract?.input, body, options);
  }

  // Encoded at once: the sender may go on to change what it passed.
  #outgoing(
    path: string,
    queryInPath: string,
    schema: AnySchema | undefined,
    body: unknown,
    options: MessageOptions,
  ): Outgoing {
    const query = encodeQuery(queryInPath, options.query);
    const own = options.headers === undefined ? undefined : checkHeaders(options.headers);
    const headers = query === "" ? own : { ...own, [header.query]: query };
    const encoded = encodeBody(body);
    const maxBodyBytes = this.#parts.maxBodyBytes();
    if (encoded.bytes.length > maxBodyBytes) throw tooLarge(path, encoded.bytes.length, maxBodyBytes);
    const validate =
      schema === undefined || !this.#parts.validates
        ? undefined
        : (): Promise<unknown> => validated(schema, body, "INVALID_INPUT", `The body for ${path}`);
    return { path, headers, body: encoded, validate };
  }

  #durable({ body, headers }: Outgoing, { messageId, expiresMs }: SendOptions): Properties {
    if (messageId !== undefined) checkMessageId(messageId);
    return {
      contentType: body.contentType,
      messageId: messageId ?? this.#parts.newId(),
      appId: this.#parts.service,
      deliveryMode: 2,
      ...(expiresMs === undefined ? {} : { expiration: String(checkMs("expiresMs", expiresMs)) }),
      ...(headers === undefined ? {} : { headers }),
    };
  }

  #waitMs({ timeoutMs }: MessageOptions): number {
    return timeoutMs === undefined ? this.#parts.timeoutMs : checkMs("timeoutMs", timeoutMs);
  }

  /** A reply came. One that nobody waits for any more is dropped. */
  receive(message: Message): void {
    const { correlationId } = message.properties;
    const pending = typeof correlationId === "string" ? this.#pending.get(correlationId) : undefined;
    if (pending === undefined) {
      this.#parts.logger.debug({ correlationId }, "A reply came that nobody waits for; it is dropped.");
      return;
    }
    const { waiter } = pending;
    try {
      const reply = decodeReply(message);
      // A schema may take its time: the call goes on waiting, within its limits.
      if (reply.kind === "answer") accepted(reply, pending).then(waiter.resolve, waiter.reject);
      else refused(reply, pending).then(waiter.reject, waiter.reject);
    } catch (error) {
      waiter.reject(error);
    }
  }

  /** Rejects the calls in flight: their replies will not come. */
  rejectCalls(error: (service: string, path: string) => ConfluoError): void {
    for (const { waiter, command, path } of [...this.#pending.values()])
      waiter.reject(error(command.service, path));
  }

  /** Rejects what waits for the broker to confirm it. */
  rejectUnconfirmed(error: (path: string) => ConfluoError): void {
    for (const [waiter, path] of [...this.#unconfirmed]) waiter.reject(error(path));
  }

  /** Resolves when no call waits for its reply and no publish for its confirm. */
  idle(): Promise<void> {
    if (this.#isIdle()) return Promise.resolve();
    return new Promise((resolve) => this.#whenIdle.push(resolve));
  }

  #isIdle(): boolean {
    return this.#pending.size === 0 && this.#unconfirmed.size === 0;
  }

  #released(): void {
    if (this.#whenIdle.length === 0 || !this.#isIdle()) return;
    const waiting = this.#whenIdle;
    this.#whenIdle = [];
    for (const resolve of waiting) resolve();
  }
}

// An answer of 400 and above is an error; any other is what the contract says.
async function accepted({ status, headers, body }: Reply, { command, path }: PendingCall): Promise<Reply> {
  const { service, contract } = command;
  if (status >= 400) {
    const message = `${service} answered ${path} with status ${status}.`;
    throw new RemoteError("SERVICE_ERROR", message, { service, path, status, data: body });
  }
  const output = contract?.output;
  if (output === undefined) return { status, headers, body };
  const parsed = await validated(output, body, "INVALID_OUTPUT", `The answer of ${path}`);
  return { status, headers, body: parsed };
}

// The data of a declared error is transformed by its schema, like an answer.
async function refused(
  { error, status }: ReceivedReply & { readonly kind: "error" },
  { command, path }: PendingCall,
): Promise<RemoteError> {
  const { service, contract } = command;
  const received = errorFromWire(error, { service, path, status });
  if (contract?.errors === undefined) return received;
  const { code, message, data } = received;
  const parsed = await parseErrorData(contract, code, data);
  return parsed === data ? received : new RemoteError(code, message, { service, path, status, data: parsed });
}

function checkMessageId(messageId: string): void {
  if (typeof messageId !== "string" || messageId === "" || !fitsShortString(messageId)) {
    throw invalidArgument("messageId", `well-formed Unicode of 1 to ${SHORT_STRING_BYTES} bytes`, messageId);
  }
}
