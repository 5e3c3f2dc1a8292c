/** From a delivery to its handlers, and from what they did to an answer and an outcome. */

import type { AnySchema } from "../contract/schema.ts";
import {
  ConfluoError,
  describeThrown,
  isConfluoError,
  refusalToWire,
  show,
  thrownToWire,
} from "../errors.ts";
import { bindingKey, eventKey, fitsShortString } from "../protocol/address.ts";
import { decodeBody, malformed } from "../protocol/codec.ts";
import type { Message } from "../protocol/message.ts";
import { encodeErrorReply, encodeReply } from "../protocol/reply.ts";
import { decide, done, type Failure, type Move } from "../retry/outcome.ts";
import type { Delivery } from "../transport/transport.ts";
import { isHandlerReply, noHeaders, type Reply } from "./context.ts";
import { LONGEST_MS } from "./deadline.ts";
import { HandlerContext } from "./handler-context.ts";
import { abandoned, HandlerRuns, overdue, type Run } from "./handler-runs.ts";
import type { Logger } from "./logger.ts";
import { runThrough } from "./middleware.ts";
import type { CommandEntry, EventEntry, Registered, Registry } from "./registry.ts";
import type { Found } from "./router.ts";
import { eventParams, type Subscription } from "./subscriptions.ts";
import { validated } from "./validation.ts";

/** What dispatch needs of its surroundings. */
export interface DispatchParts {
  readonly service: string;
  readonly registry: Registry;
  readonly logger: Logger;
  /** The most that an answer may take, in bytes. */
  readonly maxBodyBytes: () => number;
  /** Deadline of a call that names none, in milliseconds. */
  readonly callTimeoutMs: number;
  /** How long an event or one-way command without a handler goes round, in milliseconds. */
  readonly graceMs: number;
  reply(to: string, message: Message): void;
}

/** Runs handlers for deliveries; settles each delivery once. */
export class Dispatch {
  readonly #parts: DispatchParts;
  readonly #runs = new HandlerRuns();
  #inHand = 0;
  #whenIdle: (() => void)[] = [];

  constructor(parts: DispatchParts) {
    this.#parts = parts;
  }

  /** Takes a delivery; never throws. */
  handle(delivery: Delivery): void {
    this.#inHand += 1;
    const work = delivery.lane === "calls" ? this.#call(delivery) : this.#durable(delivery);
    // Nothing above rejects; if it ever did, the message must not be lost for it.
    work
      .catch((error: unknown) => this.#move(delivery, [{ error, retry: "final" }], 0))
      .catch((error: unknown) => this.#parts.logger.error({ error }, "A delivery could not be settled."))
      .finally(() => this.#released());
  }

  /** Resolves when nothing is in hand. */
  idle(): Promise<void> {
    if (this.#inHand === 0) return Promise.resolve();
    return new Promise((resolve) => this.#whenIdle.push(resolve));
  }

  /** Stops waiting for what runs; its deliveries stay unsettled, for another instance. */
  abandon(reason: unknown): void {
    this.#runs.abandon(reason);
  }

  /** Takes work again after {@link abandon}. */
  resume(): void {
    this.#runs.resume();
  }

  #released(): void {
    this.#inHand -= 1;
    if (this.#inHand > 0) return;
    const waiting = this.#whenIdle;
    this.#whenIdle = [];
    for (const resolve of waiting) resolve();
  }

  // --- Calls: answered, whatever happens ---

  async #call(delivery: Delivery): Promise<void> {
    const { replyTo, correlationId } = delivery.message.properties;
    const id = typeof correlationId === "string" ? correlationId : undefined;
    const unanswerable = whyUnanswerable(replyTo, id);
    if (unanswerable !== undefined)
      return this.#move(delivery, [{ error: malformed(unanswerable), retry: "final" }], 0);
    const limitMs = this.#deadlineOf(delivery);
    const { path, messageId, from } = delivery.origin;
    try {
      const answer = await this.#runs.run(limitMs, `the handler of ${path}`, (run) =>
        this.#answer(delivery, id, run),
      );
      this.#parts.reply(replyTo as string, answer);
    } catch (error) {
      if (error === abandoned) return; // unsettled: it goes back to the queue
      if (error !== overdue) throw error;
      const message = `The handler of ${path} took longer than its caller's ${limitMs} ms.`;
      this.#parts.logger.warn({ path, messageId, from }, message);
    }
    void delivery.settle(done);
  }

  // Whatever happens is an answer.
  async #answer(delivery: Delivery, id: string | undefined, run: Run): Promise<Message> {
    let entry: CommandEntry;
    let context: HandlerContext;
    try {
      const found = this.#route(delivery);
      entry = found.route;
      context = await this.#prepare(delivery, found, run);
    } catch (error) {
      return this.#refusal(id, error);
    }
    let reply: Reply;
    try {
      reply = await this.#handle(entry, context);
    } catch (error) {
      return this.#thrown(error, delivery, id, run);
    }
    const { path } = delivery.origin;
    try {
      return await this.#encode(reply, entry.contract?.output, path, id);
    } catch (error) {
      if (!run.stopped) this.#parts.logger.error({ error, path }, `The answer of ${path} could not be sent.`);
      return this.#refusal(id, error);
    }
  }

  #thrown(error: unknown, { origin }: Delivery, id: string | undefined, run: Run): Message {
    const { path, messageId, from } = origin;
    const { status, error: wired } = thrownToWire(error);
    if (wired.code === "HANDLER_FAILED" && !run.stopped) {
      const message = `The handler of ${path} failed; its caller was told so.`;
      this.#parts.logger.error({ error, path, messageId, from }, message);
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

  // --- One-way commands and events: handled, or a dead letter ---

  async #durable(delivery: Delivery): Promise<void> {
    const began = performance.now();
    const isEvent = delivery.origin.kind === "event";
    const failures = isEvent ? await this.#event(delivery) : await this.#command(delivery);
    if (failures.some(({ error }) => error === abandoned)) return;
    if (delivery.lane !== "instance") {
      await this.#move(delivery, failures, performance.now() - began);
      return;
    }
    for (const { error, subscription } of failures) {
      this.#parts.logger.error(
        { error, subscription },
        `The per-instance subscription to ${subscription} failed.`,
      );
    }
    void delivery.settle(done);
  }

  // Done if nothing failed; else round a delay queue, or to the dead letters.
  async #move(delivery: Delivery, failures: readonly Failure[], heldMs: number): Promise<void> {
    const { origin } = delivery;
    const { graceMs } = this.#parts;
    const outcome = decide(failures, { origin, heldMs, graceMs, random: Math.random });
    if (outcome.kind === "move") for (const move of outcome.moves) this.#tell(move, delivery);
    await delivery.settle(outcome);
  }

  #tell(move: Move, { origin }: Delivery): void {
    const { service, logger } = this.#parts;
    const { path, messageId, from, attempt } = origin;
    const { error, subscription, retry } = move.failure;
    const what =
      subscription === undefined ? show(path) : `${show(path)} for the subscription ${subscription}`;
    const details = { error, path, messageId, from, subscription, attempt };
    if (move.kind === "dead-letter") {
      logger.error(details, `${service} did not handle ${what}; it goes to the dead-letter queue.`);
      return;
    }
    const seconds = (move.hop.levelMs + move.hop.restMs) / 1_000;
    if (move.kind === "retry") {
      const tries = `try ${attempt}${typeof retry === "object" ? ` of ${retry.attempts}` : ""}`;
      logger.warn(details, `${service} did not handle ${what}, ${tries}; again in ${seconds} s.`);
    } else if (origin.unclaimedMs === 0) {
      const grace = `${this.#parts.graceMs / 1_000} s`;
      logger.warn(details, `${service} has no handler for ${what} here; it goes round for up to ${grace}.`);
    }
  }

  async #command(delivery: Delivery): Promise<readonly Failure[]> {
    let found: Found<CommandEntry>;
    try {
      found = this.#route(delivery);
    } catch (error) {
      return [{ error, retry: isConfluoError(error, "NO_SUCH_ROUTE") ? "unclaimed" : "final" }];
    }
    const entry = found.route;
    const failure = await this.#attempt(delivery, entry, async (run) => {
      accepted(await this.#handle(entry, await this.#prepare(delivery, found, run)));
    });
    return failure === undefined ? [] : [failure];
  }

  async #event(delivery: Delivery): Promise<readonly Failure[]> {
    const matching = this.#subscribed(delivery);
    if (matching.length === 0) return this.#unsubscribed(delivery);
    const { path } = delivery.origin;
    const runs = matching.map(({ pattern, handler: entry }) => {
      const work = async (run: Run): Promise<void> => {
        const body = await this.#receive(delivery, entry.contract?.body, `The body of ${path}`);
        const context = new HandlerContext(delivery, eventParams(pattern, path), body);
        run.enter(context);
        accepted(await this.#handle(entry, context));
      };
      return this.#attempt(delivery, entry, work, pattern);
    });
    return (await Promise.all(runs)).filter((failure) => failure !== undefined);
  }

  async #attempt(
    { origin, lane }: Delivery,
    { timeoutMs, retry }: Registered<unknown>,
    work: (run: Run) => Promise<void>,
    subscription?: string,
  ): Promise<Failure | undefined> {
    let run: Run | undefined;
    try {
      await this.#runs.run(timeoutMs, `the handler of ${origin.path}`, (begun) => {
        run = begun;
        return work(begun);
      });
      return undefined;
    } catch (thrown) {
      const message = `The handler of ${origin.path} ran longer than its limit of ${timeoutMs} ms on the ${lane} lane.`;
      const error = thrown === overdue ? new ConfluoError("TIMEOUT", message) : thrown;
      // What did not come as far as the handler will be no better for waiting.
      const failure = { error, retry: run?.entered || thrown === overdue ? retry : "final" } as const;
      return subscription === undefined ? failure : { ...failure, subscription };
    }
  }

  #subscribed({ lane, origin }: Delivery): readonly Subscription<EventEntry>[] {
    const per = lane === "instance" ? "instance" : "service";
    const matching = this.#parts.registry.subscriptions.match(keyOf(origin.path), per);
    if (origin.subscription === undefined) return matching;
    const only = bindingKeyOf(origin.subscription);
    return matching.filter(({ key }) => key === only);
  }

  #unsubscribed({ lane, origin }: Delivery): readonly Failure[] {
    if (lane === "instance") return [];
    const { service } = this.#parts;
    const { path, subscription } = origin;
    if (subscription === undefined) {
      const error = new ConfluoError("NO_SUBSCRIPTION", `${service} does not subscribe to ${show(path)}.`);
      return [{ error, retry: "unclaimed" }];
    }
    const message = `${service} does not subscribe to ${show(subscription)} any more.`;
    return [{ error: new ConfluoError("NO_SUBSCRIPTION", message), subscription, retry: "unclaimed" }];
  }

  // --- Both ---

  #route(delivery: Delivery): Found<CommandEntry> {
    const { path } = delivery.origin;
    if (path === "")
      throw malformed("it is a command without its path, which belongs into the property type");
    const found = this.#parts.registry.routes.find(path);
    if (found !== undefined) return found;
    throw new ConfluoError("NO_SUCH_ROUTE", `${this.#parts.service} has no route for ${show(path)}.`);
  }

  async #prepare(delivery: Delivery, found: Found<CommandEntry>, run: Run): Promise<HandlerContext> {
    const { route: entry, params } = found;
    const what = `The input of ${delivery.origin.path}`;
    const body = await this.#receive(delivery, entry.contract?.input, what);
    const context = new HandlerContext(delivery, params, body);
    run.enter(context);
    return context;
  }

  async #receive(delivery: Delivery, schema: AnySchema | undefined, what: string): Promise<unknown> {
    return validated(schema, decodeBody(delivery.message), "INVALID_INPUT", what);
  }

  #handle(entry: Registered<unknown>, context: HandlerContext): Promise<Reply> {
    const { middleware } = this.#parts.registry;
    const handler = async (): Promise<Reply> => {
      const result = await entry.handler(context);
      return isHandlerReply(result) ? result : { status: 200, headers: noHeaders, body: result };
    };
    return middleware.length === 0 ? handler() : runThrough(middleware, context, handler);
  }
}

function whyUnanswerable(replyTo: unknown, id: string | undefined): string | undefined {
  if (typeof replyTo !== "string" || replyTo === "")
    return "it came as a call without reply_to, so nobody can be answered";
  if (!fitsShortString(replyTo) || (id !== undefined && !fitsShortString(id)))
    return "its reply_to or correlation_id is not UTF-8, so it cannot be answered";
  return undefined;
}

// Nobody gets an answer here, so one that says 'failed' has to count as a failure.
function accepted({ status }: Reply): void {
  if (status < 400) return;
  throw new ConfluoError("SERVICE_ERROR", `The handler replied with status ${status}.`, { status });
}

// By key, not by pattern: a new version may have renamed a parameter. What a foreign sender wrote may be no pattern.
function bindingKeyOf(pattern: string): string | undefined {
  try {
    return bindingKey(pattern);
  } catch {
    return undefined;
  }
}

// Subscriptions match keys and contexts show paths. A foreign key may be one that no path of ours would give.
function keyOf(path: string): string {
  try {
    return eventKey(path);
  } catch {
    return path.slice(1).replaceAll("/", ".");
  }
}
