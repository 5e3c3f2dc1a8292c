/** Calls: from a delivery to its answer, whatever happens. */

import type { Reply } from "../api/context.ts";
import type { Gate } from "../async/gate.ts";
import { isPromise, type MaybePromise } from "../async/maybe-promise.ts";
import { timedOut } from "../async/timed-promise.ts";
import type { AnyCommand } from "../contract/command.ts";
import { dataSchemaOf } from "../contract/declared-errors.ts";
import { ConfluoError, describeThrown, refusalToWire, thrownToWire, type WireError } from "../errors.ts";
import type { Logger } from "../logging/logger.ts";
import { messageFields } from "../logging/message-fields.ts";
import { LONGEST_MS } from "../options/checks.ts";
import { type EncodedBody, type EncodedMessage, encodeBody } from "../protocol/codec.ts";
import type { Message } from "../protocol/message.ts";
import { encodeErrorReply, encodeReply } from "../protocol/reply.ts";
import { whyNoReturn } from "../protocol/return-address.ts";
import type { HandlerStatsRecorder } from "../statistics/handler-stats.ts";
import type { Delivery, Rejection, Settled } from "../transport/transport.ts";
import { sendable, sendableData } from "../validation/sendable-body.ts";
import { abandoned, type Execution, type ExecutionTask, type HandlerRunner } from "./handler-runner.ts";
import { type HandlerInvoker, repliedWith, replyOf } from "./invoke-handler.ts";

/** What answering needs of its surroundings. */
export interface CallProcessorDependencies {
  readonly handlers: HandlerInvoker;
  readonly runs: HandlerRunner;
  readonly logger: Logger;
  /** The most that an answer may take, in bytes. */
  readonly maxBodyBytes: () => number;
  /** Deadline of a call that names none, in milliseconds. */
  readonly callTimeoutMs: number;
  /** Is told when a handler begins to wait for an answer, and when it goes on. */
  waits(isWaiting: boolean): void;
  /** Returns what opens when the broker, if it is behind, takes more: going on before fills the process with answers. */
  reply(to: string, message: Message, failed?: Settled): Gate | undefined;
}

/** Answers calls. */
export class CallProcessor {
  readonly #parts: CallProcessorDependencies;

  constructor(parts: CallProcessorDependencies) {
    this.#parts = parts;
  }

  /**
   * Runs a call, which waited here for a while, and answers it, unless its deadline passes first. `ended` is told when that
   * is done, or that the shutdown stopped waiting for it.
   */
  answer(delivery: Delivery, heldMs: number, ended: (end: "done" | typeof abandoned) => void): void {
    const ms = this.#deadlineOf(delivery) - heldMs;
    if (ms < 1) {
      const { path } = delivery.envelope;
      this.#parts.logger.debug(
        messageFields(delivery),
        `The call ${path} waited here for longer than its caller did.`,
      );
      ended("done");
      return;
    }
    this.#parts.runs.run<Message>(new CallTask(this, delivery, { ms, ended }));
  }

  /** Sends an answer. `ended` is told when there is room for more of them. */
  post(delivery: Delivery, answer: Message, { ms, ended }: CallEnd): void {
    const { replyTo } = delivery.message.properties;
    const congestion = this.#parts.reply(replyTo as string, answer, (rejection, why) =>
      this.#notTaken(delivery, answer, { rejection, why }),
    );
    // Until then it keeps its place, or a backlog of calls would become one of answers, in memory.
    if (congestion === undefined) ended("done");
    else void relieved(congestion, ms).then(() => ended("done"));
  }

  /** Nobody waits any more, for one reason or the other. */
  giveUp(delivery: Delivery, reason: unknown, { ms, ended }: CallEnd): void {
    if (reason === abandoned) {
      ended(abandoned);
      return;
    }
    const { path } = delivery.envelope;
    const message = `The handler of ${path} took longer than its caller's ${ms} ms.`;
    this.#parts.logger.warn(messageFields(delivery), message);
    ended("done");
  }

  /** Answers a call with an error, without running it. */
  refuse(delivery: Delivery, error: ConfluoError): void {
    const { replyTo } = delivery.message.properties;
    void this.#parts.reply(replyTo as string, this.#refusal(error, delivery));
  }

  /** Answers a call with an error, without running it. `ended` is told when there is room for more of that. */
  turnAway(delivery: Delivery, error: ConfluoError, ended: () => void): void {
    this.post(delivery, this.#refusal(error, delivery), { ms: this.#deadlineOf(delivery), ended });
  }

  /** Is told when a handler begins to wait for an answer, and when it goes on. */
  get waits(): CallProcessorDependencies["waits"] {
    return this.#parts.waits;
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

  /** Runs a call. Whatever happens is an answer. */
  work(call: CallInProgress, run: Execution): MaybePromise<Message> {
    const { handlers } = this.#parts;
    const { delivery } = call;
    let contract: AnyCommand | undefined;
    try {
      const found = handlers.route(delivery.envelope);
      contract = found.route.contract;
      call.routed(found.route.tally);
      const result = handlers.command(delivery, found, run);
      if (!isPromise(result) && contract?.output === undefined)
        return this.#encode(replyOf(result), call, run);
      return this.#answerLater(call, run, { coming: result, contract });
    } catch (error) {
      return this.#failed(error, call, { run, contract });
    }
  }

  async #answerLater(
    call: CallInProgress,
    run: Execution,
    {
      coming,
      contract,
    }: { readonly coming: MaybePromise<unknown>; readonly contract: AnyCommand | undefined },
  ): Promise<Message> {
    let reply: Reply;
    try {
      reply = replyOf(await coming);
    } catch (error) {
      return this.#failed(error, call, { run, contract });
    }
    const schema = contract?.output;
    if (schema === undefined || reply.status >= 400) return this.#encode(reply, call, run);
    const { path } = call.delivery.envelope;
    const { body } = reply;
    try {
      const unchecked = {
        body,
        encoded: encodedAnswer(body, path),
        code: "INVALID_OUTPUT",
        what: `The answer of ${path}`,
      } as const;
      return this.#encode({ ...reply, encoded: await sendable(schema, unchecked) }, call, run);
    } catch (error) {
      return this.#unsendable(error, call, run);
    }
  }

  #failed(error: unknown, call: CallInProgress, { run, contract }: RanCall): MaybePromise<Message> {
    if (run.entered) return this.#thrown(error, call, { run, contract });
    this.#parts.handlers.strayed(error);
    return this.#refusal(error, call.delivery, call);
  }

  #unsendable(error: unknown, call: CallInProgress, run: Execution): Message {
    const { delivery } = call;
    const { path } = delivery.envelope;
    if (!run.stopped)
      this.#parts.logger.error(
        { err: error, ...messageFields(delivery) },
        `The answer of ${path} could not be sent.`,
      );
    return this.#refusal(error, delivery, call);
  }

  #thrown(error: unknown, call: CallInProgress, { run, contract }: RanCall): MaybePromise<Message> {
    const { delivery } = call;
    const { status, error: wired } = thrownToWire(error);
    call.wentWrong(error, status);
    if (wired.code === "HANDLER_FAILED" && !run.stopped) {
      const message = `The handler of ${delivery.envelope.path} failed; its caller was told so.`;
      this.#parts.logger.error({ err: error, ...messageFields(delivery) }, message);
    } else if (!run.stopped && hasCause(error)) {
      // Its caller is told what the handler says, and not why: that is known here alone.
      const message = `The handler of ${delivery.envelope.path} refused with status ${status}.`;
      const level = status >= 500 ? "warn" : "debug";
      this.#parts.logger[level]({ err: error, ...messageFields(delivery) }, message);
    }
    const encode = (sent: WireError): Message =>
      encodeErrorReply(correlationOf(delivery), status, sent, this.#parts.maxBodyBytes());
    const schema = contract === undefined ? undefined : dataSchemaOf(contract, wired.code);
    if (schema === undefined || wired.data === undefined) return encode(wired);
    const data = sendableData(schema, wired.data);
    return isPromise(data)
      ? data.then((later) => encode({ ...wired, data: later }))
      : encode({ ...wired, data });
  }

  // `call` is the one in hand, if it was begun.
  #refusal(refused: unknown, delivery: Delivery, call?: CallInProgress): Message {
    const { status, error } = refusalToWire(refused);
    call?.wentWrong(refused, status);
    return encodeErrorReply(correlationOf(delivery), status, error, this.#parts.maxBodyBytes());
  }

  #encode({ encoded, ...reply }: Encoding, call: CallInProgress, run: Execution): Message {
    const { delivery } = call;
    if (reply.status >= 400) call.wentWrong(repliedWith(reply.status), reply.status);
    const maxBodyBytes = this.#parts.maxBodyBytes();
    const { path } = delivery.envelope;
    let message: EncodedMessage;
    try {
      message = encodeReply(correlationOf(delivery), reply, encoded);
    } catch (cause) {
      return this.#unsendable(cannotBeSent(path, cause), call, run);
    }
    const { length } = message;
    if (length <= maxBodyBytes) return message;
    const text = `The answer of ${path} takes ${length} bytes, the limit is ${maxBodyBytes}.`;
    return this.#unsendable(new ConfluoError("PAYLOAD_TOO_LARGE", text), call, run);
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

/** What ran, and what it had promised. */
interface RanCall {
  readonly run: Execution;
  readonly contract: AnyCommand | undefined;
}

interface CallEnd {
  /** What the caller waits. */
  readonly ms: number;
  readonly ended: (end: "done" | typeof abandoned) => void;
}

/** A call that is being answered, and what is told of it for the statistics. */
interface CallInProgress {
  readonly delivery: Delivery;
  routed(tally: HandlerStatsRecorder): void;
  /** Its answer has a status of 400 or above. */
  wentWrong(error: unknown, status: number): void;
}

class CallTask implements ExecutionTask<Message>, CallInProgress {
  readonly #answering: CallProcessor;
  readonly delivery: Delivery;
  readonly #end: CallEnd;
  #tally: HandlerStatsRecorder | undefined;
  #failure: { readonly error: unknown; readonly status: number } | undefined;

  constructor(answering: CallProcessor, delivery: Delivery, end: CallEnd) {
    this.#answering = answering;
    this.delivery = delivery;
    this.#end = end;
  }

  get ms(): number {
    return this.#end.ms;
  }

  get correlationId(): string | undefined {
    return correlationOf(this.delivery);
  }

  get what(): string {
    return `the handler of ${this.delivery.envelope.path}`;
  }

  get waits(): CallProcessorDependencies["waits"] {
    return this.#answering.waits;
  }

  work(run: Execution): MaybePromise<Message> {
    return this.#answering.work(this, run);
  }

  routed(tally: HandlerStatsRecorder): void {
    this.#tally = tally;
    tally.began();
  }

  wentWrong(error: unknown, status: number): void {
    this.#failure ??= { error, status };
  }

  returned(answer: Message, run: Execution): void {
    const failure = this.#failure;
    const { from } = this.delivery.envelope;
    if (failure === undefined) this.#tally?.succeeded(run.began, from);
    else if (failure.status < 500) this.#tally?.refused(run.began, from, failure.error);
    else this.#tally?.failed(run.began, from, failure.error);
    this.#answering.post(this.delivery, answer, this.#end);
  }

  failed(reason: unknown, run: Execution): void {
    if (reason === abandoned) this.#tally?.abandoned();
    else this.#tally?.failed(run.began, this.delivery.envelope.from, timedOut(this));
    this.#answering.giveUp(this.delivery, reason, this.#end);
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
