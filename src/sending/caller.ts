/**
 * Makes calls to services. The promise of each call settles by its deadline: with the reply, or with the reason why none came.
 */

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

/** The parts that a {@link Caller} works with. */
export interface CallerDependencies {
  readonly service: string;
  readonly instance: string;
  readonly logger: Logger;
  readonly timeoutMs: number;
  /** The most that may travel together; the broker's limits may allow less. */
  readonly batching: Pick<Batching, "maxCalls" | "maxBytes">;
  readonly preparer: MessagePreparer;
  readonly uses: UseRecorder;
  /** The current session of the service. */
  readonly sessions: SessionSlot;
  /** The dispatcher of this service, which runs the calls that the service makes to itself. */
  readonly dispatcher: {
    /** Frees the concurrency place of a call if it runs in this service, because its caller waits no longer. */
    letGo(correlationId: string): void;
  };
}

/** How long to wait before a call that was returned is published once more, in milliseconds. */
const ONCE_MORE_MS = 100;

/** The services of this process that are shut down together. */
export interface Neighbourhood {
  /**
   * Delivers a call within the process if its service and the calling one are shut down together. Returns whether it did so.
   */
  handOver(call: PendingCall, message: Message, session: Session): boolean;
}

/** Makes the calls of a service. */
export class Caller {
  readonly #parts: CallerDependencies;
  readonly #sessions: SessionSlot;
  /** Calls that wait for their answer. */
  readonly inFlight: InFlightCalls<PendingCall>;
  /** The services that may take a call within the process. Set only while a service of this process is being shut down. */
  neighbours: Neighbourhood | undefined;

  constructor(parts: CallerDependencies) {
    this.#parts = parts;
    this.#sessions = parts.sessions;
    this.inFlight = new InFlightCalls(parts.instance);
  }

  /**
   * Makes a call. The promise resolves with the reply, and rejects if there is none or if the reply is an error.
   *
   * @throws a `ConfluoError` if an argument is wrong, if the deadline of the current handler has passed, or if too many calls
   * wait.
   */
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
    // Register the call before it is published, so that the reply cannot arrive first.
    this.inFlight.add(call);
    scope?.asks();
    const { start, error, end } = outgoingMessages;
    if (start.hasSubscribers || error.hasSubscribers || end.hasSubscribers) this.#trace(call);
    if (!call.begin(signal)) return call.promise;
    // Publish in this turn of the event loop if there is nothing to wait for.
    const { ready } = this.#sessions;
    const isReady = ready !== undefined && ready.replyTo !== "" && ready.congestion === undefined;
    if (isReady && prepared.validate === undefined) this.#publish(call, ready);
    else this.#publishLater(call, prepared.validate).catch((error: unknown) => call.reject(error));
    return call.promise;
  }

  // Reports the call to the diagnostics channels, whose listeners may add headers.
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
    // A call that travels in a batch may have to be sent again, so its body is kept.
    if (maxCalls > 1 && isBatchable(message, maxBytes)) call.body = message.json;
    else call.release();
    if (this.neighbours?.handOver(call, message, session) === true) return;
    publishTo(session, "call", { call, message });
  }

  /** Sends a call once more, by itself: it travelled in a batch, and the instance that had the batch is gone. */
  sendAgain(id: string): void {
    const call = this.inFlight.withId(id);
    const { ready } = this.#sessions;
    // Nothing is sent if nobody waits for the call any more. If the connection is gone, the call has been rejected already.
    if (call === undefined || ready === undefined) return;
    const message = this.#messageOf(call, ready);
    if (message === undefined) return;
    call.release();
    publishTo(ready, "callAlone", { call, message });
  }

  // Returns `undefined` if the call is over or has less than a millisecond left.
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

  /** Settles the call that a reply belongs to. A reply for which no call waits is dropped. */
  receive(message: Message): void {
    const { correlationId } = message.properties;
    const call = typeof correlationId === "string" ? this.inFlight.withId(correlationId) : undefined;
    if (call === undefined) {
      this.#parts.logger.debug({ correlationId }, "A reply came that nobody waits for; it is dropped.");
      return;
    }
    try {
      const reply = decodeReply(message);
      // A schema may be asynchronous. Meanwhile the call keeps waiting, within its deadline.
      const taken = reply.kind === "answer" ? accepted(reply, call) : refused(reply, call);
      if (!(taken instanceof Promise)) call.resolve(taken);
      else taken.then((value) => call.resolve(value)).catch((error: unknown) => call.reject(error));
    } catch (error) {
      call.reject(error);
    }
  }

  /**
   * Is called before a call rejects. If the call is to this very service, its handler may be running here, so its place is
   * freed.
   */
  failing(call: PendingCall): void {
    if (call.service === this.#parts.service) this.#parts.dispatcher.letGo(this.inFlight.idOf(call));
  }

  /** Is called when the deadline of a call has passed. Checks whether the reply queue still exists. */
  unanswered(): void {
    this.#sessions.ready?.lookForQueues();
  }
}

// Publishes a call. If the broker returns it, the queue may exist again in a moment, so it is published a second time. A second
// return is final. So is the first one if hardly any time is left: a timeout would hide that the service does not exist.
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

/** A call from the moment it is made until it is settled. */
export class PendingCall extends TimedPromise<Reply> implements InFlightCall {
  slot = -1;
  serial = 0;
  secret = "";
  bytes: number;
  /** True once it was delivered within the process. */
  isNear = false;
  readonly service: string;
  readonly contract: AnyCommand | undefined;
  readonly path: string;
  headers: PreparedMessage["headers"];
  /**
   * The body, kept as text while the call travels in a batch and may have to be sent again. `undefined` once it cannot be sent
   * again.
   */
  body: EncodedBody | string | undefined;
  /** The scope of the handler that makes the call, if a handler does. It is notified when the call is settled. */
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

  /** Returns the time until its deadline, in whole milliseconds. */
  leftMs(): number {
    return Math.floor(this.dueAt - performance.now());
  }

  /** Replaces the body that the caller gave by the validated one. */
  replaceBody(body: EncodedBody): void {
    if (this.over || this.body === undefined) return;
    this.#caller.inFlight.resize(this, body.length);
    this.body = body;
  }

  /** Releases the body, which will not be sent again. From now on, the transport counts its bytes. */
  release(): void {
    this.#caller.inFlight.resize(this, 0);
    this.body = undefined;
  }

  /** Rejects the call if the broker did not take its message. */
  settle(rejection?: Rejection, why?: ConfluoError): void {
    if (rejection !== undefined) this.reject(rejected(rejection, this.service, this.path, why));
  }

  /** Returns the error of a call that is made when the deadline of its handler has already passed. */
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

// Returns the value with which a call resolves, checked by the contract. Throws if the status is 400 or above.
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

// Rejects with the error that the service answered. The contract's schema transforms the data of a declared error, like an
// answer.
async function refused(
  { error, status }: ReceivedReply & { readonly kind: "error" },
  { service, contract, path }: PendingCall,
): Promise<never> {
  const received = errorFromWire(error, { service, path, status });
  throw contract?.errors === undefined ? received : await declaredError(contract, received);
}
