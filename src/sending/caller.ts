/** Calls to services: from what the verb was given to the answer, or to the reason why none came. Each of them settles. */

import { DeadlineScope, remainingMs } from "../async/deadline-scope.ts";
import { andThen } from "../async/maybe-promise.ts";
import { TimedPromise, timedOut, untilOpen } from "../async/timed-promise.ts";
import type { AnyCommand } from "../contract/command.ts";
import { declaredError } from "../contract/declared-errors.ts";
import { OutgoingMessage, outgoingMessages } from "../diagnostics.ts";
import { type ConfluoError, errorFromWire, RemoteError } from "../errors.ts";
import type { Logger } from "../logging/logger.ts";
import { checkMs, checkSignal } from "../options/checks.ts";
import { isBatchable } from "../protocol/batch.ts";
import { EncodedBody, EncodedMessage } from "../protocol/codec.ts";
import type { Message, Properties } from "../protocol/message.ts";
import { decodeReply, type ReceivedReply, type Reply } from "../protocol/reply.ts";
import type { UseRecorder } from "../statistics/uses.ts";
import type { SessionSlot } from "../transport/session-slot.ts";
import type { Batching, Rejection, Session } from "../transport/transport.ts";
import { validated } from "../validation/validated.ts";
import { type InFlightCall, InFlightCalls } from "./in-flight.ts";
import type { MessagePreparer, PreparedMessage } from "./prepare-message.ts";
import { reconnecting, rejected } from "./publish-errors.ts";

/** The parts that a caller works with. */
export interface CallerDependencies {
  readonly service: string;
  readonly instance: string;
  readonly logger: Logger;
  readonly timeoutMs: number;
  /** The most that may travel together: a broker may take less. */
  readonly batching: Pick<Batching, "maxCalls" | "maxBytes">;
  readonly preparer: MessagePreparer;
  readonly uses: UseRecorder;
  /** The session at the moment. */
  readonly sessions: SessionSlot;
  /** Where calls to this service itself run. */
  readonly dispatcher: {
    /** Takes its place from a call, if that runs here: its caller waits no longer. */
    letGo(correlationId: string): void;
  };
}

/** How soon a call goes out again that found no queue. */
const ONCE_MORE_MS = 100;

/** Services of this process that are shut down together. */
export interface Neighbourhood {
  /** Hands a call over within the process, if its service and the one that makes it leave together. @returns whether it does. */
  handOver(call: PendingCall, message: Message, session: Session): boolean;
}

/** Makes the calls of a service. */
export class Caller {
  readonly #parts: CallerDependencies;
  readonly #sessions: SessionSlot;
  /** Calls that wait for their answer. */
  readonly inFlight: InFlightCalls<PendingCall>;
  /** Services that may take a call within the process; set while any of its services is shut down. */
  neighbours: Neighbourhood | undefined;

  constructor(parts: CallerDependencies) {
    this.#parts = parts;
    this.#sessions = parts.sessions;
    this.inFlight = new InFlightCalls(parts.instance);
  }

  /** @throws what is wrong with the arguments; the promise rejects with the rest. */
  call(to: string | AnyCommand, rest: readonly unknown[]): Promise<Reply> {
    const prepared = this.#parts.preparer.command("call", to, rest);
    const { timeoutMs, signal } = prepared.options;
    const ownMs = timeoutMs === undefined ? this.#parts.timeoutMs : checkMs("timeoutMs", timeoutMs);
    const scope = DeadlineScope.current;
    const ms = remainingMs(ownMs, scope);
    if (signal !== undefined) checkSignal(signal);
    this.#parts.uses.calls.add(prepared.service, prepared.contract);
    const call = new PendingCall(prepared, this, { ms, scope });
    if (ms < 1) throw call.tooLate();
    // Registered before it is published: the reply must not come first.
    this.inFlight.add(call);
    scope?.asks();
    const { start, error, end } = outgoingMessages;
    if (start.hasSubscribers || error.hasSubscribers || end.hasSubscribers) this.#trace(call);
    if (!call.begin(signal)) return call.promise;
    // At once, if nothing is to be waited for.
    const { ready } = this.#sessions;
    const isReady = ready !== undefined && ready.replyTo !== "" && ready.congestion === undefined;
    if (isReady && prepared.validate === undefined) this.#publish(call, ready);
    else this.#publishLater(call, prepared.validate).catch((error: unknown) => call.reject(error));
    return call.promise;
  }

  // The listeners may add headers.
  #trace(call: PendingCall): void {
    const { service, instance } = this.#parts;
    const { service: to, path, contract } = call;
    const pattern = contract?.pattern ?? contract?.path;
    const messageId = this.inFlight.idOf(call);
    const told = new OutgoingMessage(
      { service, instance, kind: "call", to, path, pattern, messageId },
      call.headers,
    );
    call.headers = told.begin();
    told.until(call.promise);
  }

  async #publishLater(call: PendingCall, validate: PreparedMessage["validate"]): Promise<void> {
    if (validate !== undefined) call.replaceBody(await validate());
    const session = await this.#sessions.whenReady();
    if (session.replyTo === "") await session.openReplies();
    while (session.congestion !== undefined && !call.over) await untilOpen(session.congestion, call);
    this.#publish(call, session);
  }

  #publish(call: PendingCall, session: Session): void {
    const message = this.#messageOf(call, session);
    if (message === undefined) return;
    const { maxCalls, maxBytes } = this.#parts.batching;
    // A call that may travel with others may have to go out again.
    if (maxCalls > 1 && isBatchable(message, maxBytes)) call.body = message.json;
    else call.release();
    if (this.neighbours?.handOver(call, message, session) === true) return;
    publishTo(session, "call", { call, message });
  }

  /** Publishes a call again by itself, once: it was gathered with others and came to an instance that is gone. */
  sendAgain(id: string): void {
    const call = this.inFlight.withId(id);
    const { ready } = this.#sessions;
    // A call that nobody waits for any more does not run; a call whose connection is gone has been rejected.
    if (call === undefined || ready === undefined) return;
    const message = this.#messageOf(call, ready);
    if (message === undefined) return;
    call.release();
    publishTo(ready, "callAlone", { call, message });
  }

  // `undefined` if the wait is over, or will be in this very turn.
  #messageOf(call: PendingCall, session: Session): EncodedMessage | undefined {
    const leftMs = call.leftMs();
    const { body, path, headers } = call;
    if (leftMs < 1 || call.over || body === undefined) return undefined;
    const { connected, replyTo } = session;
    if (!connected || replyTo === "") {
      call.reject(reconnecting(this.#parts.service));
      return undefined;
    }
    const encoded = typeof body === "string" ? new EncodedBody(body) : body;
    const properties: Properties = {
      contentType: encoded.contentType,
      type: path,
      correlationId: this.inFlight.idOf(call),
      replyTo,
      appId: this.#parts.service,
      expiration: String(leftMs),
      mandatory: true,
    };
    return new EncodedMessage(encoded, headers === undefined ? properties : { ...properties, headers });
  }

  /** Settles the call that a reply is for. A reply that nobody waits for any more is dropped. */
  receive(message: Message): void {
    const { correlationId } = message.properties;
    const call = typeof correlationId === "string" ? this.inFlight.withId(correlationId) : undefined;
    if (call === undefined) {
      this.#parts.logger.debug({ correlationId }, "A reply came that nobody waits for; it is dropped.");
      return;
    }
    try {
      const reply = decodeReply(message);
      // A schema may take its time: the call goes on waiting, within its limits.
      const taken = reply.kind === "answer" ? accepted(reply, call) : refused(reply, call);
      if (!(taken instanceof Promise)) call.resolve(taken);
      else taken.then((value) => call.resolve(value)).catch((error: unknown) => call.reject(error));
    } catch (error) {
      call.reject(error);
    }
  }

  /** Is told of a call that is about to fail: it may be running in this very service. */
  failing(call: PendingCall): void {
    if (call.service === this.#parts.service) this.#parts.dispatcher.letGo(this.inFlight.idOf(call));
  }

  /** Is told that the deadline of a call has passed: the queue of its answer may be gone. */
  unanswered(): void {
    this.#sessions.ready?.lookForQueues();
  }
}

// Publishes a call, and once more one that found no queue: that may be there in a moment. With the next return it is believed, and
// with hardly any time left, since the deadline would hide what is wrong.
function publishTo(
  session: Session,
  way: "call" | "callAlone",
  { call, message }: { readonly call: PendingCall; readonly message: Message },
): void {
  session[way](call.service, message, (rejection, why) => {
    const mayBeThere = rejection === "returned" && session.mayReturnCalls && call.leftMs() > 2 * ONCE_MORE_MS;
    if (!mayBeThere) {
      call.settle(rejection, why);
      return;
    }
    setTimeout(() => {
      const leftMs = call.leftMs();
      if (call.over || leftMs < 1) return;
      const properties = { ...message.properties, expiration: String(leftMs) };
      const again = { body: message.body, properties };
      session[way](call.service, again, (reason, cause) => call.settle(reason, cause));
    }, ONCE_MORE_MS);
  });
}

/** A call from the moment it is made until it has its answer, or none is waited for any more. */
export class PendingCall extends TimedPromise<Reply> implements InFlightCall {
  slot = -1;
  serial = 0;
  secret = "";
  bytes: number;
  /** True once it was handed over within the process. */
  isNear = false;
  readonly service: string;
  readonly contract: AnyCommand | undefined;
  readonly path: string;
  headers: PreparedMessage["headers"];
  /** As text, if it is only kept in case an instance sends it back; `undefined` once none can. */
  body: EncodedBody | string | undefined;
  /** The handler that it is made in, if it is: told when it waits no longer. */
  readonly scope: DeadlineScope | undefined;
  readonly #caller: Pick<Caller, "inFlight" | "failing" | "unanswered">;

  constructor(
    { service, contract, path, headers, body }: PreparedMessage<AnyCommand>,
    caller: Pick<Caller, "inFlight" | "failing" | "unanswered">,
    { ms, scope }: { readonly ms: number; readonly scope: DeadlineScope | undefined },
  ) {
    super(ms);
    this.service = service;
    this.contract = contract;
    this.path = path;
    this.headers = headers;
    this.body = body;
    this.bytes = body.length;
    this.scope = scope;
    this.#caller = caller;
  }

  /** Returns what is left of its deadline, in whole milliseconds. */
  leftMs(): number {
    return Math.floor(this.dueAt - performance.now());
  }

  /** Puts a body that was checked in the place of the one that was given. */
  replaceBody(body: EncodedBody): void {
    if (this.over || this.body === undefined) return;
    this.#caller.inFlight.resize(this, body.length);
    this.body = body;
  }

  /** Lets go of its body, which is on its way and which no instance sends back: others account for it now. */
  release(): void {
    this.#caller.inFlight.resize(this, 0);
    this.body = undefined;
  }

  /** Takes what the broker says of its message. */
  settle(rejection?: Rejection, why?: ConfluoError): void {
    if (rejection !== undefined) this.reject(rejected(rejection, this.service, this.path, why));
  }

  /** Returns the error of a call that would have to be answered before it is made. */
  tooLate(): ConfluoError {
    return timedOut({ ms: 0, what: `${this.what}: the caller's own deadline has passed` });
  }

  override pass(): void {
    super.pass();
    this.#caller.unanswered();
  }

  override reject(error: unknown): void {
    if (!this.over) this.#caller.failing(this);
    super.reject(error);
  }

  protected override get what(): string {
    return `${this.service} to answer ${this.path}`;
  }

  protected override ended(): void {
    this.release();
    this.scope?.goesOn();
    this.#caller.inFlight.delete(this);
  }
}

// Returns what a call resolves with: an answer of 400 and above is an error; any other is what the contract says.
function accepted(
  { status, headers, body }: ReceivedReply & Reply,
  { service, contract, path }: PendingCall,
): Reply | Promise<Reply> {
  if (status >= 400) {
    const message = `${service} answered ${path} with status ${status}.`;
    throw new RemoteError("SERVICE_ERROR", message, { service, path, status, data: body });
  }
  const output = contract?.output;
  if (output === undefined) return { status, headers, body };
  const parsed = validated(output, body, "INVALID_OUTPUT", `The answer of ${path}`);
  return andThen(parsed, (value) => ({ status, headers, body: value }));
}

// Rejects with the error that was answered. The data of a declared error is transformed by its schema, like an answer.
async function refused(
  { error, status }: ReceivedReply & { readonly kind: "error" },
  { service, contract, path }: PendingCall,
): Promise<never> {
  const received = errorFromWire(error, { service, path, status });
  throw contract?.errors === undefined ? received : await declaredError(contract, received);
}
