/** What a service sends: calls and their replies, one-way commands, events. Everything here settles. */

import type { Reply } from "../api/context.ts";
import { DeadlineScope, remainingMs } from "../async/deadline-scope.ts";
import { SlotSet } from "../async/slot-set.ts";
import { untilOpen } from "../async/timed-promise.ts";
import type { AnyEvent } from "../contract/event.ts";
import { outgoingMessages } from "../diagnostics.ts";
import { type ConfluoError, invalidArgument } from "../errors.ts";
import { messageIds } from "../identity.ts";
import type { Logger } from "../logging/logger.ts";
import { checkMs, checkOptions, checkSignal, type OptionNames } from "../options/checks.ts";
import type { CallOptions, MessageOptions, SendOptions } from "../options/verb-options.ts";
import {
  checkCommandPath,
  checkName,
  eventKey,
  fitsShortString,
  parseTarget,
  SHORT_STRING_BYTES,
} from "../protocol/address.ts";
import { isBatchable } from "../protocol/batch.ts";
import { type EncodedBody, EncodedMessage } from "../protocol/codec.ts";
import type { Message, Properties } from "../protocol/message.ts";
import { decodeReply } from "../protocol/reply.ts";
import { UseRecorder, type Uses } from "../statistics/uses.ts";
import type { SessionSlot } from "../transport/session-slot.ts";
import type { Batching, Session } from "../transport/transport.ts";
import { accepted, refused } from "./answers.ts";
import { InFlightLimit } from "./in-flight-limit.ts";
import { MisplacedOptions } from "./misplaced-options.ts";
import { encodeOutgoing, type OutgoingLimits } from "./outgoing.ts";
import { traceCall, tracePublish } from "./outgoing-diagnostics.ts";
import { type Command, PendingCall, PendingCalls, type PreparedMessage } from "./pending-call.ts";
import { PendingConfirm, type PublishDetails } from "./pending-confirm.ts";
import { reconnecting } from "./publish-errors.ts";

/** What requests need of their surroundings. */
export interface SenderDependencies {
  readonly service: string;
  readonly instance: string;
  readonly logger: Logger;
  readonly timeoutMs: number;
  /** What may travel together at most: a broker may take less. */
  readonly batching: Pick<Batching, "maxCalls" | "maxBytes">;
  /** Whether the sending side validates, too. */
  readonly validates: boolean;
  /** The session at the moment. */
  readonly sessions: SessionSlot;
  /** Nobody waits any more for a call to this service itself, which may be running here. */
  unwanted(correlationId: string): void;
}

/** Services of this process that are shut down together. */
export interface Neighbourhood {
  /** Hands a call over within the process, if its service and the one that makes it leave together. @returns whether it does. */
  handOver(call: PendingCall, message: Message, session: Session): boolean;
}

/** An event to publish. */
export interface EventTarget {
  readonly target: string;
  readonly contract: AnyEvent | undefined;
}

const messageOptions = { timeoutMs: true, signal: true, query: true, headers: true } as const;
const callOptions: OptionNames<CallOptions> = messageOptions;
const sendOptions: OptionNames<SendOptions> = { ...messageOptions, messageId: true, expiresMs: true };

/** The requesting side of a service. */
export class Sender {
  readonly #parts: SenderDependencies;
  readonly #sessions: SessionSlot;
  readonly #newId: () => string;
  readonly #pending: PendingCalls;
  readonly #misplaced: MisplacedOptions;
  readonly #unconfirmed = new SlotSet<PendingConfirm>();
  readonly #calls = new InFlightLimit("their answers");
  readonly #confirms = new InFlightLimit("the broker to confirm them");
  readonly #uses = new UseRecorder();
  /** What is sent and published and waits to go out. */
  #later = 0;
  #whenIdle: (() => void)[] = [];

  /** Who may take a call within the process; set while the service is connected. */
  neighbours: Neighbourhood | undefined;

  constructor(parts: SenderDependencies) {
    this.#parts = parts;
    this.#sessions = parts.sessions;
    this.#newId = messageIds(parts.instance);
    this.#pending = new PendingCalls(parts.instance);
    this.#misplaced = new MisplacedOptions(parts.logger);
  }

  /** What was called, sent and published. */
  get uses(): Uses {
    return this.#uses.read();
  }

  /** @throws what is wrong with the arguments; the promise rejects with the rest. */
  call(command: Command, body: unknown, given?: CallOptions): Promise<Reply> {
    const options = checkOptions("call", given, callOptions);
    if (given === undefined) this.#misplaced.look("call", command.target, body, command.contract?.input);
    const outgoing = this.#command(command, body, options);
    const { path } = outgoing;
    this.#uses.called(command.service, command.contract);
    const scope = DeadlineScope.current;
    const ms = remainingMs(this.#waitMs(options), scope);
    const signal = options.signal === undefined ? undefined : checkSignal(options.signal);
    const call = new PendingCall(ms, { command, outgoing, scope, of: this.#callsInFlight });
    if (ms < 1) throw call.tooLate();
    this.#calls.add(path, outgoing.body.length);
    // Registered before it is published: the reply must not come first.
    this.#pending.add(call);
    scope?.asks();
    if (outgoingMessages.isWatched) traceCall(this.#parts, call, this.#pending.idOf(call));
    if (call.begin(signal)) this.#ask(call, outgoing.validate);
    return call.promise;
  }

  readonly #callsInFlight = {
    release: (bytes: number): void => this.#calls.release(bytes),
    remove: (call: PendingCall): void => {
      this.#pending.delete(call);
      this.#calls.remove();
      this.#released();
    },
    unanswered: (): void => this.#sessions.ready?.lookForQueues(),
    failing: (call: PendingCall): void => {
      if (call.service === this.#parts.service) this.#parts.unwanted(this.#pending.idOf(call));
    },
  };

  // At once, if nothing is to be waited for.
  #ask(call: PendingCall, validate: PreparedMessage["validate"]): void {
    const { ready } = this.#sessions;
    const isReady = ready !== undefined && ready.replyTo !== "" && ready.congestion === undefined;
    if (isReady && validate === undefined) this.#publishCall(call, ready);
    else this.#askLater(call, validate).catch((error: unknown) => call.reject(error));
  }

  async #askLater(call: PendingCall, validate: PreparedMessage["validate"]): Promise<void> {
    if (validate !== undefined) call.replaceBody(await validate());
    const link = await this.#sessions.whenReady();
    if (link.replyTo === "") await link.openReplies();
    while (link.congestion !== undefined && !call.over) await untilOpen(link.congestion, call);
    this.#publishCall(call, link);
  }

  #publishCall(call: PendingCall, link: Session): void {
    const message = this.#messageOf(call, link);
    if (message === undefined) return;
    const { maxCalls, maxBytes } = this.#parts.batching;
    // One that may travel with others may have to go out again.
    if (maxCalls > 1 && isBatchable(message, maxBytes)) call.keep();
    else call.release();
    if (this.neighbours?.handOver(call, message, link) === true) return;
    link.call(call.service, message, (rejection, why) => call.settle(rejection, why));
  }

  /** A call that was gathered with others came to an instance that is gone: it goes out again by itself, once. */
  sendAgain(id: string): void {
    const call = this.#pending.find(id);
    const { ready } = this.#sessions;
    // One that nobody waits for any more does not run; one whose connection is gone has been rejected.
    if (call === undefined || ready === undefined) return;
    const message = this.#messageOf(call, ready);
    if (message === undefined) return;
    call.release();
    ready.callAlone(call.service, message, (rejection, why) => call.settle(rejection, why));
  }

  // `undefined` if the wait is over, or will be in this very turn.
  #messageOf(call: PendingCall, link: Session): EncodedMessage | undefined {
    const leftMs = call.leftMs();
    const { body } = call;
    if (leftMs < 1 || call.over || body === undefined) return undefined;
    const { connected, replyTo } = link;
    if (!connected || replyTo === "") {
      call.reject(reconnecting(this.#parts.service));
      return undefined;
    }
    const { path, headers } = call;
    const properties: Properties = {
      contentType: body.contentType,
      type: path,
      correlationId: this.#pending.idOf(call),
      replyTo,
      appId: this.#parts.service,
      expiration: String(leftMs),
      mandatory: true,
    };
    return new EncodedMessage(body, headers === undefined ? properties : { ...properties, headers });
  }

  /** @throws as {@link call}. */
  send(command: Command, body: unknown, given?: SendOptions): Promise<void> {
    const options = checkOptions("send", given, sendOptions);
    if (given === undefined) this.#misplaced.look("send", command.target, body, command.contract?.input);
    const outgoing = this.#command(command, body, options);
    const properties = { ...this.#durable(outgoing, options), type: outgoing.path, mandatory: true } as const;
    const message: Message = { body: outgoing.body.bytes, properties };
    const { service, contract } = command;
    this.#uses.sent(service, contract);
    return this.#confirmed(options, {
      outgoing,
      contract,
      message,
      service,
      key: undefined,
      of: this.#publishing,
    });
  }

  /** @throws as {@link call}. */
  publish({ target, contract }: EventTarget, body: unknown, given?: SendOptions): Promise<void> {
    const options = checkOptions("publish", given, sendOptions);
    if (given === undefined) this.#misplaced.look("publish", target, body, contract?.body);
    const { path, query } = parseTarget(target);
    const key = eventKey(path);
    const outgoing = encodeOutgoing({ path, query, schema: contract?.body, body, options }, this.#limits);
    const message: Message = { body: outgoing.body.bytes, properties: this.#durable(outgoing, options) };
    this.#uses.published(contract);
    return this.#confirmed(options, { outgoing, contract, message, service: "", key, of: this.#publishing });
  }

  #confirmed(options: SendOptions, parts: PublishDetails): Promise<void> {
    const signal = options.signal === undefined ? undefined : checkSignal(options.signal);
    const ms = this.#waitMs(options);
    const pending = new PendingConfirm(ms, parts);
    this.#confirms.add(pending.path, pending.bytes);
    this.#unconfirmed.add(pending);
    if (outgoingMessages.isWatched) tracePublish(this.#parts, pending);
    if (!pending.begin(signal)) return pending.promise;
    const { ready, broken } = this.#sessions;
    // Those that wait go first: what is sent keeps its order, and so does what is published.
    const isFirst = this.#later === 0 && broken === undefined;
    const isReady = ready !== undefined && isFirst && ready.congestion === undefined;
    if (isReady && pending.validate === undefined) pending.publish(ready);
    else this.#publishLater(pending).catch((error: unknown) => pending.reject(error));
    return pending.promise;
  }

  readonly #publishing = {
    again: (pending: PendingConfirm): void => {
      this.#publishLater(pending).catch((error: unknown) => pending.reject(error));
    },
    remove: (pending: PendingConfirm): void => {
      this.#unconfirmed.delete(pending);
      this.#confirms.release(pending.bytes);
      this.#confirms.remove();
      this.#released();
    },
  };

  async #publishLater(pending: PendingConfirm): Promise<void> {
    this.#later += 1;
    try {
      if (pending.validate !== undefined) this.#replaceBody(pending, await pending.validate());
      await this.#publishInTurn(pending);
    } finally {
      this.#later -= 1;
    }
  }

  #replaceBody(pending: PendingConfirm, body: EncodedBody): void {
    if (pending.over) return;
    this.#confirms.release(pending.bytes - body.length);
    pending.replaceBody(body);
  }

  async #publishInTurn(pending: PendingConfirm): Promise<void> {
    for (;;) {
      const link = await this.#sessions.whenReady();
      const closed = this.#sessions.broken ?? link.congestion;
      if (pending.over) return; // what its sender gave up on does not go out
      if (closed === undefined) {
        pending.publish(link);
        return;
      }
      await untilOpen(closed, pending);
    }
  }

  get #limits(): OutgoingLimits {
    return { maxBodyBytes: this.#sessions.maxBodyBytes, validates: this.#parts.validates };
  }

  #command(command: Command, body: unknown, options: MessageOptions): PreparedMessage {
    checkName(command.service, "service");
    const { path, query } = parseTarget(command.target);
    checkCommandPath(path);
    return encodeOutgoing({ path, query, schema: command.contract?.input, body, options }, this.#limits);
  }

  #durable({ body, headers }: PreparedMessage, { messageId, expiresMs }: SendOptions): Properties {
    if (messageId !== undefined) checkMessageId(messageId);
    const properties: Properties = {
      contentType: body.contentType,
      messageId: messageId ?? this.#newId(),
      appId: this.#parts.service,
      deliveryMode: 2,
    };
    if (expiresMs === undefined && headers === undefined) return properties;
    return {
      ...properties,
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
    const pending = typeof correlationId === "string" ? this.#pending.find(correlationId) : undefined;
    if (pending === undefined) {
      this.#parts.logger.debug({ correlationId }, "A reply came that nobody waits for; it is dropped.");
      return;
    }
    try {
      const reply = decodeReply(message);
      // A schema may take its time: the call goes on waiting, within its limits.
      const taken = reply.kind === "answer" ? accepted(reply, pending) : refused(reply, pending);
      if (!(taken instanceof Promise)) pending.resolve(taken);
      else taken.then((value) => pending.resolve(value)).catch((error: unknown) => pending.reject(error));
    } catch (error) {
      pending.reject(error);
    }
  }

  /** Rejects the calls in flight: their replies will not come. */
  rejectCalls(error: (service: string, path: string) => ConfluoError): void {
    for (const call of this.#pending.list()) call.reject(error(call.service, call.path));
  }

  /** Rejects what waits for the broker to confirm it. */
  rejectUnconfirmed(error: (path: string) => ConfluoError): void {
    for (const pending of this.#unconfirmed.list()) pending.reject(error(pending.path));
  }

  /** Calls to a service that are under way by the broker, with their ids: all, or those of handlers that are being drained. */
  callsTo(service: string, all: boolean): readonly { readonly id: string; readonly call: PendingCall }[] {
    return this.#pending
      .list()
      .filter((call) => call.service === service && !call.isNear && (all || call.scope?.isLeaving === true))
      .map((call) => ({ id: this.#pending.idOf(call), call }));
  }

  /** Resolves when no call waits for its reply and no publish for its confirm. */
  idle(): Promise<void> {
    if (this.isIdle) return Promise.resolve();
    return new Promise((resolve) => this.#whenIdle.push(resolve));
  }

  /** How many calls wait for their answer, and how many messages for their confirm. */
  get underWay(): { readonly calling: number; readonly unconfirmed: number } {
    return { calling: this.#pending.size, unconfirmed: this.#unconfirmed.size };
  }

  get isIdle(): boolean {
    return this.#pending.size === 0 && this.#unconfirmed.size === 0;
  }

  #released(): void {
    if (this.#whenIdle.length === 0 || !this.isIdle) return;
    const waiting = this.#whenIdle;
    this.#whenIdle = [];
    for (const resolve of waiting) resolve();
  }
}

function checkMessageId(messageId: string): void {
  if (typeof messageId !== "string" || messageId === "" || !fitsShortString(messageId)) {
    throw invalidArgument("messageId", `well-formed Unicode of 1 to ${SHORT_STRING_BYTES} bytes`, messageId);
  }
}
