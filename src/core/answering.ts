/** Calls: from a delivery to its answer, whatever happens. */

import type { AnySchema } from "../contract/schema.ts";
import { ConfluoError, describeThrown, refusalToWire, thrownToWire } from "../errors.ts";
import { fitsShortString } from "../protocol/address.ts";
import type { Message } from "../protocol/message.ts";
import { encodeErrorReply, encodeReply } from "../protocol/reply.ts";
import type { Delivery } from "../transport/transport.ts";
import type { Gate } from "../waiting/gate.ts";
import type { Reply } from "./context.ts";
import { LONGEST_MS } from "./deadline.ts";
import type { HandlerContext } from "./handler-context.ts";
import { type HandlerRuns, overdue, type Run } from "./handler-runs.ts";
import type { Handlers } from "./handlers.ts";
import type { Logger } from "./logger.ts";
import type { CommandEntry } from "./registry.ts";
import { validated } from "./validation.ts";

/** What answering needs of its surroundings. */
export interface AnsweringParts {
  readonly handlers: Handlers;
  readonly runs: HandlerRuns;
  readonly logger: Logger;
  /** The most that an answer may take, in bytes. */
  readonly maxBodyBytes: () => number;
  /** Deadline of a call that names none, in milliseconds. */
  readonly callTimeoutMs: number;
  /** Returns what opens when the broker, if it is behind, takes more: going on before fills the process with answers. */
  reply(to: string, message: Message, tooLarge?: () => void): Gate | undefined;
}

/** Answers calls. */
export class Answering {
  readonly #parts: AnsweringParts;

  constructor(parts: AnsweringParts) {
    this.#parts = parts;
  }

  /** Runs a call and answers it, unless its deadline passes first. @throws `abandoned`. */
  async answer(delivery: Delivery): Promise<void> {
    const { id, replyTo } = returnAddress(delivery);
    const limitMs = this.#deadlineOf(delivery);
    const { path, messageId, from } = delivery.origin;
    try {
      const limits = { ms: limitMs, what: `the handler of ${path}`, isCall: true };
      const answer = await this.#parts.runs.run(limits, (run) => this.#answer(delivery, id, run));
      const congestion = this.#parts.reply(replyTo, answer, () => this.#tooLarge(delivery, answer));
      // Until then it keeps its place, or a backlog of calls would become one of answers, in memory.
      if (congestion !== undefined) await relieved(congestion, limitMs);
    } catch (error) {
      if (error !== overdue) throw error;
      const message = `The handler of ${path} took longer than its caller's ${limitMs} ms.`;
      this.#parts.logger.warn({ path, messageId, from }, message);
    }
  }

  /** Answers a call with an error, without running it. */
  refuse(delivery: Delivery, error: ConfluoError): void {
    const { id, replyTo } = returnAddress(delivery);
    void this.#parts.reply(replyTo, this.#refusal(id, error));
  }

  #tooLarge(delivery: Delivery, { body }: Message): void {
    const { path } = delivery.origin;
    const message = `The answer of ${path} takes ${body.length} bytes, and the broker's limit is below that.`;
    const error = new ConfluoError("PAYLOAD_TOO_LARGE", message);
    this.#parts.logger.error({ err: error, path }, message);
    this.refuse(delivery, error);
  }

  // Whatever happens is an answer.
  async #answer(delivery: Delivery, id: string | undefined, run: Run): Promise<Message> {
    const { handlers } = this.#parts;
    let entry: CommandEntry;
    let context: HandlerContext;
    try {
      const found = handlers.route(delivery.origin);
      entry = found.route;
      context = await handlers.prepare(delivery, found, run);
    } catch (error) {
      return this.#refusal(id, error);
    }
    let reply: Reply;
    try {
      reply = await handlers.handle(entry, context);
    } catch (error) {
      return this.#thrown(error, delivery, id, run);
    }
    const { path } = delivery.origin;
    try {
      return await this.#encode(reply, entry.contract?.output, path, id);
    } catch (error) {
      if (!run.stopped)
        this.#parts.logger.error({ err: error, path }, `The answer of ${path} could not be sent.`);
      return this.#refusal(id, error);
    }
  }

  #thrown(error: unknown, { origin }: Delivery, id: string | undefined, run: Run): Message {
    const { path, messageId, from } = origin;
    const { status, error: wired } = thrownToWire(error);
    if (wired.code === "HANDLER_FAILED" && !run.stopped) {
      const message = `The handler of ${path} failed; its caller was told so.`;
      this.#parts.logger.error({ err: error, path, messageId, from }, message);
    }
    return encodeErrorReply(id, status, wired, this.#parts.maxBodyBytes());
  }

  #refusal(id: string | undefined, refused: unknown): Message {
    const { status, error } = refusalToWire(refused);
    return encodeErrorReply(id, status, error, this.#parts.maxBodyBytes());
  }

  async #encode(
    reply: Reply,
    schema: AnySchema | undefined,
    path: string,
    id: string | undefined,
  ): Promise<Message> {
    if (reply.status < 400) await validated(schema, reply.body, "INVALID_OUTPUT", `The answer of ${path}`);
    const maxBodyBytes = this.#parts.maxBodyBytes();
    let message: Message;
    try {
      message = encodeReply(id, reply);
    } catch (cause) {
      const reason = describeThrown(cause).message;
      throw new ConfluoError("INVALID_OUTPUT", `The answer of ${path} cannot be sent: ${reason}`, { cause });
    }
    const { length } = message.body;
    if (length <= maxBodyBytes) return message;
    throw new ConfluoError(
      "PAYLOAD_TOO_LARGE",
      `The answer of ${path} takes ${length} bytes, the limit is ${maxBodyBytes}.`,
    );
  }

  // Hosts' clocks are never compared: what was left when the call was published counts from its receipt.
  #deadlineOf(delivery: Delivery): number {
    const { expiration } = delivery.message.properties;
    const ms = typeof expiration === "string" ? Number(expiration) : Number.NaN;
    return ms >= 1 ? Math.min(ms, LONGEST_MS) : this.#parts.callTimeoutMs;
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

interface ReturnAddress {
  readonly replyTo: string;
  readonly id: string | undefined;
}

function returnAddress({ message }: Delivery): ReturnAddress {
  const { replyTo, correlationId } = message.properties;
  return { replyTo: replyTo as string, id: typeof correlationId === "string" ? correlationId : undefined };
}

/** Why nobody can be told the answer of a call; `undefined` if its caller can. */
export function whyUnanswerable({ message }: Delivery): string | undefined {
  const { replyTo, correlationId } = message.properties;
  if (typeof replyTo !== "string" || replyTo === "")
    return "it came as a call without reply_to, so nobody can be answered";
  if (!fitsShortString(replyTo) || (typeof correlationId === "string" && !fitsShortString(correlationId)))
    return "its reply_to or correlation_id is not UTF-8, so it cannot be answered";
  return undefined;
}
