/** Processes calls: every delivery ends with an answer, unless its caller has stopped waiting. */

import { abandoned, HandlerRun, overdue, type RunningHandlers } from "../async/deadline-scope.ts";
import type { Gate } from "../async/gate.ts";
import { andThen, type MaybePromise } from "../async/maybe-promise.ts";
import { timedOut } from "../async/timed-promise.ts";
import type { AnyCommand } from "../contract/command.ts";
import { dataSchemaOf } from "../contract/declared-errors.ts";
import { ConfluoError, describeThrown, refusalToWire, thrownToWire, type WireError } from "../errors.ts";
import { type Logger, messageFields } from "../logging/logger.ts";
import { LONGEST_MS } from "../options/checks.ts";
import { type EncodedBody, type EncodedMessage, encodeBody, malformed } from "../protocol/codec.ts";
import type { Message } from "../protocol/message.ts";
import { encodeErrorReply, encodeReply, type Reply, replyOf } from "../protocol/reply.ts";
import { done } from "../retry/outcome.ts";
import type { HandlerStatsRecorder } from "../statistics/handler-stats.ts";
import type { SessionSlot } from "../transport/session-slot.ts";
import type { Delivery, Rejection } from "../transport/transport.ts";
import { sendable, sendableData } from "../validation/sendable-body.ts";
import { type Execution, type HandlerInvoker, repliedWith } from "./invoke-handler.ts";
import type { InFlightMessage } from "./recent-messages.ts";

/** The parts that a {@link CallProcessor} works with. */
export interface CallProcessorDependencies {
  readonly handlers: HandlerInvoker;
  readonly running: RunningHandlers;
  readonly logger: Logger;
  /** Holds the session on which calls are answered. */
  readonly sessions: SessionSlot;
  /** The deadline of a call that names none, in milliseconds. */
  readonly callTimeoutMs: number;
  /** Is called when a handler begins to wait for an answer, and when it continues. */
  waits(isWaiting: boolean): void;
}

/** The end of a call. `done`: it is answered, or its deadline has passed. `abandoned`: a shutdown stopped waiting for it. */
type CallEnd = typeof done | typeof abandoned;

/** Runs calls and answers them. */
export class CallProcessor {
  readonly parts: CallProcessorDependencies;

  constructor(parts: CallProcessorDependencies) {
    this.parts = parts;
  }

  /**
   * Runs a call, which may have waited here for a place, and answers it unless its deadline passes first.
   *
   * @throws `MALFORMED_MESSAGE` if the call cannot be answered.
   */
  process(delivery: Delivery, message: InFlightMessage): MaybePromise<CallEnd> {
    const { path, noReturn } = delivery.envelope;
    if (noReturn !== undefined) throw malformed(`it came as a call and cannot be answered: ${noReturn}`);
    const ms = this.#deadlineOf(delivery) - passedMs(delivery, message);
    if (ms >= 1) return new CallInProgress(this, delivery, ms).run();
    const text = `The call ${path} was not run: it waited for a place until its deadline had passed.`;
    this.parts.logger.debug(messageFields(delivery), text);
    return done;
  }

  /** Answers a call with an error, without running its handler. */
  refuse(delivery: Delivery, error: ConfluoError): void {
    const { replyTo } = delivery.message.properties;
    this.parts.sessions.session?.reply(replyTo as string, this.#refusal(error, delivery));
  }

  /** Answers a call with an error, without running its handler. Returns when there is room for more answers. */
  turnAway(delivery: Delivery, error: ConfluoError): MaybePromise<typeof done> {
    return this.post(delivery, this.#refusal(error, delivery), this.#deadlineOf(delivery));
  }

  #refusal(refused: ConfluoError, delivery: Delivery): Message {
    const { status, error } = refusalToWire(refused);
    return encodeErrorReply(correlationOf(delivery), status, error, this.parts.sessions.maxBodyBytes);
  }

  /** Sends an answer. Returns when there is room for more answers. */
  post(delivery: Delivery, answer: Message, ms: number): MaybePromise<typeof done> {
    const { replyTo } = delivery.message.properties;
    const congestion = this.parts.sessions.session?.reply(replyTo as string, answer, (rejection, why) =>
      this.#notTaken(delivery, answer, { rejection, why }),
    );
    // The call keeps its place until then. Otherwise a backlog of calls would become a backlog of answers in memory.
    return congestion === undefined ? done : relieved(congestion, ms).then(() => done);
  }

  // Answers with an error if the answer itself cannot be sent. For other rejections no answer can be sent at all.
  #notTaken(
    delivery: Delivery,
    { body }: Message,
    { rejection, why }: { readonly rejection: Rejection | undefined; readonly why: ConfluoError | undefined },
  ): void {
    const { path } = delivery.envelope;
    let error: ConfluoError;
    if (rejection === "too-large") {
      const message = `The answer of ${path} takes ${body.length} bytes, and the broker's limit is below that.`;
      error = new ConfluoError("PAYLOAD_TOO_LARGE", message);
    } else if (rejection === "invalid") {
      const message = `The answer of ${path} cannot be sent: ${why?.message}`;
      error = new ConfluoError("INVALID_OUTPUT", message, { cause: why });
    } else return;
    this.parts.logger.error({ err: error, ...messageFields(delivery) }, error.message);
    this.refuse(delivery, error);
  }

  // The clocks of two hosts are never compared: the time that was left when the call was published counts from its receipt.
  #deadlineOf(delivery: Delivery): number {
    const { expiration } = delivery.message.properties;
    const ms = typeof expiration === "string" ? Number(expiration) : Number.NaN;
    return ms >= 1 ? Math.min(ms, LONGEST_MS) : this.parts.callTimeoutMs;
  }
}

/** One run of a call's handler, with its answer and its entry in the statistics. */
class CallInProgress extends HandlerRun<Message, CallEnd> implements Execution {
  readonly #processor: CallProcessor;
  readonly delivery: Delivery;
  override readonly correlationId: string | undefined;
  tally: HandlerStatsRecorder | undefined;
  #contract: AnyCommand | undefined;
  /** The reason why the answer has a status of 400 or above. */
  #wrong: { readonly error: unknown; readonly status: number } | undefined;

  constructor(processor: CallProcessor, delivery: Delivery, ms: number) {
    const correlationId = correlationOf(delivery);
    super(ms, processor.parts.running, processor.parts.waits);
    this.#processor = processor;
    this.delivery = delivery;
    this.correlationId = correlationId;
  }

  override get what(): string {
    return `the handler of ${this.delivery.envelope.path}`;
  }

  // Every outcome becomes an answer.
  override work(): MaybePromise<Message> {
    const { handlers } = this.#processor.parts;
    try {
      const invocation = handlers.route(this.delivery.envelope);
      this.#contract = invocation.entry.contract;
      const result = handlers.invoke(this, invocation);
      if (!(result instanceof Promise)) return this.#checked(replyOf(result));
      // The answer is made here so that the handler's result is encoded in the handler's asynchronous context.
      return result.then(
        (later) => this.#checked(replyOf(later)),
        (error: unknown) => this.#failure(error),
      );
    } catch (error) {
      return this.#failure(error);
    }
  }

  override returned(answer: Message): MaybePromise<typeof done> {
    const { from } = this.delivery.envelope;
    if (this.#wrong === undefined) this.tally?.succeeded(this.began, from);
    else if (this.#wrong.status < 500) this.tally?.refused(this.began, from, this.#wrong.error);
    else this.tally?.failed(this.began, from, this.#wrong.error);
    return this.#processor.post(this.delivery, answer, this.ms);
  }

  /** Answers with an error, unless the caller has stopped waiting or the shutdown has. */
  override failed(reason: unknown): MaybePromise<CallEnd> {
    if (reason === abandoned) {
      this.tally?.abandoned();
      return abandoned;
    }
    if (reason !== overdue) return andThen(this.#failure(reason), (answer) => this.returned(answer));
    const { from, path } = this.delivery.envelope;
    this.tally?.failed(this.began, from, timedOut(this));
    const message = `The handler of ${path} took longer than its caller's ${this.ms} ms.`;
    this.#processor.parts.logger.warn(messageFields(this.delivery), message);
    return done;
  }

  // Checks a reply by the contract, within the deadline of the call, because a schema may be asynchronous.
  #checked(reply: Reply): MaybePromise<Message> {
    const schema = this.#contract?.output;
    if (schema === undefined || reply.status >= 400) return this.#answer(reply);
    const { path } = this.delivery.envelope;
    const { body } = reply;
    try {
      const unchecked = {
        body,
        encoded: encodedAnswer(body, path),
        code: "INVALID_OUTPUT",
        what: `The answer of ${path}`,
      } as const;
      const checked = sendable(schema, unchecked);
      if (!(checked instanceof Promise)) return this.#answer(reply, checked);
      return checked
        .then((encoded) => this.#answer(reply, encoded))
        .catch((error: unknown) => this.#unsendable(error));
    } catch (error) {
      return this.#unsendable(error);
    }
  }

  // `encoded` is the encoded body, if it exists already.
  #answer(reply: Reply, encoded?: EncodedBody): Message {
    if (reply.status >= 400) this.#wentWrong(repliedWith(reply.status), reply.status);
    const { maxBodyBytes } = this.#processor.parts.sessions;
    const { path } = this.delivery.envelope;
    let message: EncodedMessage;
    try {
      message = encodeReply(this.correlationId, reply, encoded);
    } catch (cause) {
      return this.#unsendable(cannotBeSent(path, cause));
    }
    const { length } = message;
    if (length <= maxBodyBytes) return message;
    const text = `The answer of ${path} takes ${length} bytes, the limit is ${maxBodyBytes}.`;
    return this.#unsendable(new ConfluoError("PAYLOAD_TOO_LARGE", text));
  }

  // An error before the handler is entered is a refusal. After that, it is a failure of the handler.
  #failure(error: unknown): MaybePromise<Message> {
    if (this.context !== undefined) return this.#thrown(error);
    this.#processor.parts.handlers.strayed(error);
    return this.#refusal(error);
  }

  #unsendable(error: unknown): Message {
    const { delivery } = this;
    const message = `The answer of ${delivery.envelope.path} could not be sent.`;
    if (this.stopped === undefined)
      this.#processor.parts.logger.error({ err: error, ...messageFields(delivery) }, message);
    return this.#refusal(error);
  }

  #thrown(error: unknown): MaybePromise<Message> {
    const { delivery } = this;
    const { logger } = this.#processor.parts;
    const { status, error: wired } = thrownToWire(error);
    this.#wentWrong(error, status);
    if (wired.code === "HANDLER_FAILED" && this.stopped === undefined) {
      const message = `The handler of ${delivery.envelope.path} failed; its caller was told so.`;
      logger.error({ err: error, ...messageFields(delivery) }, message);
    } else if (this.stopped === undefined && hasCause(error)) {
      // The caller receives the handler's message but not the cause, which is logged only here.
      const message = `The handler of ${delivery.envelope.path} refused with status ${status}.`;
      const level = status >= 500 ? "warn" : "debug";
      logger[level]({ err: error, ...messageFields(delivery) }, message);
    }
    const schema = this.#contract === undefined ? undefined : dataSchemaOf(this.#contract, wired.code);
    if (schema === undefined || wired.data === undefined) return this.#error(status, wired);
    const data = sendableData(schema, wired.data);
    return data instanceof Promise
      ? data.then((later) => this.#error(status, { ...wired, data: later }))
      : this.#error(status, { ...wired, data });
  }

  #refusal(refused: unknown): Message {
    const { status, error } = refusalToWire(refused);
    this.#wentWrong(refused, status);
    return this.#error(status, error);
  }

  #error(status: number, error: WireError): Message {
    return encodeErrorReply(this.correlationId, status, error, this.#processor.parts.sessions.maxBodyBytes);
  }

  #wentWrong(error: unknown, status: number): void {
    this.#wrong ??= { error, status };
  }
}

function encodedAnswer(body: unknown, path: string): EncodedBody {
  try {
    return encodeBody(body);
  } catch (cause) {
    throw cannotBeSent(path, cause);
  }
}

function cannotBeSent(path: string, cause: unknown): ConfluoError {
  const reason = describeThrown(cause).message;
  return new ConfluoError("INVALID_OUTPUT", `The answer of ${path} cannot be sent: ${reason}`, { cause });
}

// Reading the property may run a getter, which may throw.
function hasCause(error: unknown): boolean {
  try {
    return (error as { readonly cause?: unknown }).cause !== undefined;
  } catch {
    return false;
  }
}

function relieved(congestion: Gate, atMostMs: number): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      leave();
      resolve();
    };
    const timer = setTimeout(end, atMostMs);
    const leave = congestion.onOpen(end);
  });
}

function correlationOf({ message }: Delivery): string | undefined {
  const { correlationId } = message.properties;
  return typeof correlationId === "string" ? correlationId : undefined;
}

// Returns how long a call was under way before it begins here, in milliseconds, as far as this instance knows.
function passedMs({ history, receivedAt, envelope }: Delivery, { heldMs, until }: InFlightMessage): number {
  if (history === "first") return heldMs;
  const now = performance.now();
  return envelope.expiresMs === undefined ? now - receivedAt : envelope.expiresMs - (until - now);
}
