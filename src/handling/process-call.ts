/** Calls: from a delivery to its answer, whatever happens. */

import type { Reply } from "../api/context.ts";
import type { Gate } from "../async/gate.ts";
import { andThen, type MaybePromise } from "../async/maybe-promise.ts";
import { timedOut } from "../async/timed-promise.ts";
import type { AnyCommand } from "../contract/command.ts";
import { dataSchemaOf } from "../contract/declared-errors.ts";
import type { AnySchema } from "../contract/schema.ts";
import { ConfluoError, describeThrown, refusalToWire, thrownToWire, type WireError } from "../errors.ts";
import type { Logger } from "../logging/logger.ts";
import { messageFields } from "../logging/message-fields.ts";
import { LONGEST_MS } from "../options/checks.ts";
import { type EncodedBody, type EncodedMessage, encodeBody, malformed } from "../protocol/codec.ts";
import type { Message } from "../protocol/message.ts";
import { encodeErrorReply, encodeReply } from "../protocol/reply.ts";
import { whyNoReturn } from "../protocol/return-address.ts";
import { done } from "../retry/outcome.ts";
import type { HandlerStatsRecorder } from "../statistics/handler-stats.ts";
import type { SessionSlot } from "../transport/session-slot.ts";
import type { Delivery, Rejection } from "../transport/transport.ts";
import { sendable, sendableData } from "../validation/sendable-body.ts";
import { abandoned, type Execution, type HandlerRunner, overdue, type Task } from "./handler-runner.ts";
import { type HandlerInvoker, repliedWith, replyOf } from "./invoke-handler.ts";
import type { InFlightMessage } from "./recent-messages.ts";

/** What answering needs of its surroundings. */
export interface CallProcessorDependencies {
  readonly handlers: HandlerInvoker;
  readonly runs: HandlerRunner;
  readonly logger: Logger;
  /** The session to answer on. */
  readonly sessions: SessionSlot;
  /** Deadline of a call that names none, in milliseconds. */
  readonly callTimeoutMs: number;
  /** Is told when a handler begins to wait for an answer, and when it goes on. */
  waits(isWaiting: boolean): void;
}

/** Answers calls. */
export class CallProcessor {
  readonly #parts: CallProcessorDependencies;

  constructor(parts: CallProcessorDependencies) {
    this.#parts = parts;
  }

  /**
   * Runs a call, which may have waited here for a while, and answers it, unless its deadline passes first. Returns what
   * becomes of it, or that the shutdown stopped waiting for it.
   *
   * @throws `MALFORMED_MESSAGE` if it cannot be answered.
   */
  process(delivery: Delivery, message: InFlightMessage): MaybePromise<typeof done | typeof abandoned> {
    const { runs, waits, logger } = this.#parts;
    const unanswerable = whyUnanswerable(delivery);
    if (unanswerable !== undefined) throw malformed(unanswerable);
    const ms = this.#deadlineOf(delivery) - passedMs(delivery, message);
    if (ms >= 1) return runs.run(new CallInProgress(this, delivery, { ms, waits }));
    const { path } = delivery.envelope;
    logger.debug(messageFields(delivery), `The call ${path} waited here for longer than its caller did.`);
    return done;
  }

  /** Runs a call. Whatever happens is an answer. */
  work(call: CallInProgress): MaybePromise<Message> {
    const { handlers } = this.#parts;
    const { delivery } = call;
    try {
      const found = handlers.route(delivery.envelope);
      const { contract, tally } = found.route;
      call.routed(tally, contract);
      const result = handlers.command(delivery, found, call.execution as Execution);
      if (contract?.output !== undefined) return this.#checked(call, result, contract.output);
      if (!(result instanceof Promise)) return this.#encode(replyOf(result), call);
      // Here, so that what the handler returned is written in the handler's context.
      return result.then(
        (later) => this.#encode(replyOf(later), call),
        (error: unknown) => this.#failure(call, error),
      );
    } catch (error) {
      return this.#failure(call, error);
    }
  }

  /** Sends the answer. */
  returned(call: CallInProgress, answer: Message): MaybePromise<typeof done> {
    call.answered();
    return this.#post(call.delivery, answer, call.ms);
  }

  /** Answers with an error, if anybody still waits for an answer. */
  failed(call: CallInProgress, reason: unknown): MaybePromise<typeof done | typeof abandoned> {
    if (reason === abandoned) {
      call.abandoned();
      return abandoned;
    }
    if (reason !== overdue)
      return andThen(this.#failure(call, reason), (answer) => this.returned(call, answer));
    call.timedOut();
    const { delivery, ms } = call;
    const message = `The handler of ${delivery.envelope.path} took longer than its caller's ${ms} ms.`;
    this.#parts.logger.warn(messageFields(delivery), message);
    return done;
  }

  // Returns when there is room for more answers.
  #post(delivery: Delivery, answer: Message, ms: number): MaybePromise<typeof done> {
    const { replyTo } = delivery.message.properties;
    const { session } = this.#parts.sessions;
    session?.reply(replyTo as string, answer, (rejection, why) =>
      this.#notTaken(delivery, answer, { rejection, why }),
    );
    const congestion = session?.congestion;
    // Until then it keeps its place, or a backlog of calls would become one of answers, in memory.
    return congestion === undefined ? done : relieved(congestion, ms).then(() => done);
  }

  /** Answers a call with an error, without running it. */
  refuse(delivery: Delivery, error: ConfluoError): void {
    const { replyTo } = delivery.message.properties;
    this.#parts.sessions.session?.reply(replyTo as string, this.#refusal(error, delivery));
  }

  /** Answers a call with an error, without running it. Returns when there is room for more of that. */
  turnAway(delivery: Delivery, error: ConfluoError): MaybePromise<typeof done> {
    return this.#post(delivery, this.#refusal(error, delivery), this.#deadlineOf(delivery));
  }

  // Its caller is told why, unless no answer at all gets out.
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
    this.#parts.logger.error({ err: error, ...messageFields(delivery) }, error.message);
    this.refuse(delivery, error);
  }

  // Within the limit of the run, since a schema may take its time.
  async #checked(call: CallInProgress, coming: MaybePromise<unknown>, schema: AnySchema): Promise<Message> {
    let reply: Reply;
    try {
      reply = replyOf(await coming);
    } catch (error) {
      return this.#failure(call, error);
    }
    if (reply.status >= 400) return this.#encode(reply, call);
    const { path } = call.delivery.envelope;
    const { body } = reply;
    try {
      const unchecked = {
        body,
        encoded: encodedAnswer(body, path),
        code: "INVALID_OUTPUT",
        what: `The answer of ${path}`,
      } as const;
      return this.#encode({ ...reply, encoded: await sendable(schema, unchecked) }, call);
    } catch (error) {
      return this.#unsendable(error, call);
    }
  }

  // Before the handler is entered, the call is refused; from there on it is the handler that failed.
  #failure(call: CallInProgress, error: unknown): MaybePromise<Message> {
    if (call.execution?.entered === true) return this.#thrown(error, call);
    this.#parts.handlers.strayed(error);
    return this.#refusal(error, call.delivery, call);
  }

  #unsendable(error: unknown, call: CallInProgress): Message {
    const { delivery } = call;
    const { path } = delivery.envelope;
    if (!call.isStopped)
      this.#parts.logger.error(
        { err: error, ...messageFields(delivery) },
        `The answer of ${path} could not be sent.`,
      );
    return this.#refusal(error, delivery, call);
  }

  #thrown(error: unknown, call: CallInProgress): MaybePromise<Message> {
    const { delivery, contract } = call;
    const { status, error: wired } = thrownToWire(error);
    call.wentWrong(error, status);
    if (wired.code === "HANDLER_FAILED" && !call.isStopped) {
      const message = `The handler of ${delivery.envelope.path} failed; its caller was told so.`;
      this.#parts.logger.error({ err: error, ...messageFields(delivery) }, message);
    } else if (!call.isStopped && hasCause(error)) {
      // Its caller is told what the handler says, and not why: that is known here alone.
      const message = `The handler of ${delivery.envelope.path} refused with status ${status}.`;
      const level = status >= 500 ? "warn" : "debug";
      this.#parts.logger[level]({ err: error, ...messageFields(delivery) }, message);
    }
    const encode = (sent: WireError): Message =>
      encodeErrorReply(correlationOf(delivery), status, sent, this.#parts.sessions.maxBodyBytes);
    const schema = contract === undefined ? undefined : dataSchemaOf(contract, wired.code);
    if (schema === undefined || wired.data === undefined) return encode(wired);
    const data = sendableData(schema, wired.data);
    return data instanceof Promise
      ? data.then((later) => encode({ ...wired, data: later }))
      : encode({ ...wired, data });
  }

  // `call` is the one in hand, if it was begun.
  #refusal(refused: unknown, delivery: Delivery, call?: CallInProgress): Message {
    const { status, error } = refusalToWire(refused);
    call?.wentWrong(refused, status);
    return encodeErrorReply(correlationOf(delivery), status, error, this.#parts.sessions.maxBodyBytes);
  }

  #encode({ encoded, ...reply }: Encoding, call: CallInProgress): Message {
    const { delivery } = call;
    if (reply.status >= 400) call.wentWrong(repliedWith(reply.status), reply.status);
    const maxBodyBytes = this.#parts.sessions.maxBodyBytes;
    const { path } = delivery.envelope;
    let message: EncodedMessage;
    try {
      message = encodeReply(correlationOf(delivery), reply, encoded);
    } catch (cause) {
      return this.#unsendable(cannotBeSent(path, cause), call);
    }
    const { length } = message;
    if (length <= maxBodyBytes) return message;
    const text = `The answer of ${path} takes ${length} bytes, the limit is ${maxBodyBytes}.`;
    return this.#unsendable(new ConfluoError("PAYLOAD_TOO_LARGE", text), call);
  }

  // Hosts' clocks are never compared: what was left when the call was published counts from its receipt.
  #deadlineOf(delivery: Delivery): number {
    const { expiration } = delivery.message.properties;
    const ms = typeof expiration === "string" ? Number(expiration) : Number.NaN;
    return ms >= 1 ? Math.min(ms, LONGEST_MS) : this.#parts.callTimeoutMs;
  }
}

/** A reply, and its body as it travels if that is known. */
type Encoding = Reply & { readonly encoded?: EncodedBody };

/** A call that is being answered, and how it ends for the statistics. */
class CallInProgress implements Task<Message, typeof done | typeof abandoned> {
  readonly #processor: CallProcessor;
  readonly delivery: Delivery;
  readonly ms: number;
  readonly waits: CallProcessorDependencies["waits"];
  readonly correlationId: string | undefined;
  contract: AnyCommand | undefined;
  execution: Execution | undefined;
  #tally: HandlerStatsRecorder | undefined;
  #failure: { readonly error: unknown; readonly status: number } | undefined;

  constructor(
    processor: CallProcessor,
    delivery: Delivery,
    { ms, waits }: Pick<CallProcessorDependencies, "waits"> & { readonly ms: number },
  ) {
    this.#processor = processor;
    this.delivery = delivery;
    this.ms = ms;
    this.waits = waits;
    this.correlationId = correlationOf(delivery);
  }

  work(execution: Execution): MaybePromise<Message> {
    this.execution = execution;
    return this.#processor.work(this);
  }

  returned(answer: Message): MaybePromise<typeof done> {
    return this.#processor.returned(this, answer);
  }

  failed(reason: unknown): MaybePromise<typeof done | typeof abandoned> {
    return this.#processor.failed(this, reason);
  }

  /** Whether nobody waits for it any more. */
  get isStopped(): boolean {
    return this.execution?.stopped === true;
  }

  get what(): string {
    return `the handler of ${this.delivery.envelope.path}`;
  }

  routed(tally: HandlerStatsRecorder, contract: AnyCommand | undefined): void {
    this.contract = contract;
    this.#tally = tally;
    tally.began();
  }

  /** Its answer has a status of 400 or above. */
  wentWrong(error: unknown, status: number): void {
    this.#failure ??= { error, status };
  }

  answered(): void {
    const failure = this.#failure;
    const { from } = this.delivery.envelope;
    if (failure === undefined) this.#tally?.succeeded(this.#began, from);
    else if (failure.status < 500) this.#tally?.refused(this.#began, from, failure.error);
    else this.#tally?.failed(this.#began, from, failure.error);
  }

  abandoned(): void {
    this.#tally?.abandoned();
  }

  timedOut(): void {
    this.#tally?.failed(this.#began, this.delivery.envelope.from, timedOut(this));
  }

  get #began(): number {
    return this.execution?.began ?? performance.now();
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

// A getter may throw.
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

/** Why nobody can be told the answer of a call; `undefined` if its caller can. */
export function whyUnanswerable({ message }: Delivery): string | undefined {
  const why = whyNoReturn(message.properties);
  return why === undefined ? undefined : `it came as a call and cannot be answered: ${why}`;
}

// How long a call was under way before it begins here, as far as this instance knows.
function passedMs({ history, receivedAt, envelope }: Delivery, { heldMs, until }: InFlightMessage): number {
  if (history === "first") return heldMs;
  const now = performance.now();
  return envelope.expiresMs === undefined ? now - receivedAt : envelope.expiresMs - (until - now);
}
