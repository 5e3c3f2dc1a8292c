/** Finds the handler of a message and runs it with its context, for calls, one-way commands and events alike. */

import type { Context, MessageKind, Query, ReplyOptions, StateKey } from "../api/context.ts";
import type { HandlerRun } from "../async/deadline-scope.ts";
import { andThen, type MaybePromise } from "../async/maybe-promise.ts";
import type { AnySchema } from "../contract/schema.ts";
import { HandledMessage, handledMessages, type Whose } from "../diagnostics.ts";
import { ConfluoError, invalidArgument, isConfluoError, show } from "../errors.ts";
import {
  checkHeaders,
  decodeBody,
  decodeQuery,
  malformed,
  noHeaders,
  userHeaders,
} from "../protocol/codec.ts";
import type { Envelope } from "../protocol/envelope.ts";
import type { MessageHeaders } from "../protocol/message.ts";
import { type HandlerReply, handlerReplyOf, isReplyStatus, type Reply, replyOf } from "../protocol/reply.ts";
import type { CommandEntry, Registered, Registry } from "../registry/registry.ts";
import type { HandlerStatsRecorder } from "../statistics/handler-stats.ts";
import type { Delivery } from "../transport/transport.ts";
import { validated } from "../validation/validated.ts";
import { runThrough } from "./middleware.ts";

/** The handler that was found for a message, and what it is called with. */
export interface Invocation<Entry extends Registered<unknown> = Registered<unknown>> {
  readonly entry: Entry;
  /** The path or pattern that the handler was registered for. That of a subscription has a leading slash. */
  readonly pattern: string;
  readonly params: Readonly<Record<string, string>>;
  readonly schema: AnySchema | undefined;
}

/** The part of a handler's run that {@link HandlerInvoker} works with. */
export interface Execution extends Pick<HandlerRun, "context" | "stopped" | "onStop"> {
  readonly delivery: Delivery;
  /** The recorder that counts this run; set when the run begins. */
  tally: HandlerStatsRecorder | undefined;
}

/** Finds and runs the handlers of one service. */
export class HandlerInvoker {
  readonly #of: Whose;
  readonly #registry: Registry;

  constructor(of: Whose, registry: Registry) {
    this.#of = of;
    this.#registry = registry;
  }

  /**
   * Returns the route of a command.
   *
   * @throws `NO_SUCH_ROUTE`; `MALFORMED_MESSAGE` for a command without a path.
   */
  route({ path }: Envelope): Invocation<CommandEntry> {
    if (path === "")
      throw malformed("it is a command without its path, which belongs into the property type");
    const found = this.#registry.routes.find(path);
    if (found === undefined)
      throw new ConfluoError("NO_SUCH_ROUTE", `${this.#of.service} has no route for ${show(path)}.`);
    const { route, params } = found;
    return { entry: route, pattern: route.pattern, params, schema: route.contract?.input };
  }

  /** Returns whether there is a route for a command. */
  hasRoute({ path }: Envelope): boolean {
    return path !== "" && this.#registry.routes.find(path) !== undefined;
  }

  /**
   * Counts a message for which no handler runs, as malformed or as unmatched. Other failures are counted by the handler's
   * recorder.
   */
  strayed(why: unknown): void {
    const { unmatched, malformed } = this.#registry;
    if (isConfluoError(why, "MALFORMED_MESSAGE")) malformed.received();
    else if (isConfluoError(why, "NO_SUCH_ROUTE") || isConfluoError(why, "NO_SUBSCRIPTION"))
      unmatched.received();
  }

  /**
   * Runs a handler. {@link replyOf} interprets its result.
   *
   * @throws or rejects with `INVALID_INPUT` or `MALFORMED_MESSAGE` before the handler is entered, and then with the handler's
   * own error.
   */
  invoke(execution: Execution, invocation: Invocation): MaybePromise<unknown> {
    execution.tally = invocation.entry.tally;
    execution.tally.began();
    const { start, error, end } = handledMessages;
    if (!start.hasSubscribers && !error.hasSubscribers && !end.hasSubscribers)
      return this.#run(execution, invocation);
    const message = new HandledMessage(this.#of, execution.delivery, invocation.pattern);
    return message.watch(
      (stopped) => {
        execution.onStop = stopped;
      },
      () => this.#run(execution, invocation),
    );
  }

  // Enters the handler in this turn, unless its schema is asynchronous.
  #run(execution: Execution, { entry, params, schema }: Invocation): MaybePromise<unknown> {
    const context = new HandlerContext(execution.delivery, params);
    if (schema === undefined) return this.#enter(entry, context, execution);
    const { kind, path } = context;
    const what = `The ${kind === "event" ? "body" : "input"} of ${path}`;
    return andThen(validated(schema, context.body, "INVALID_INPUT", what), (valid) => {
      context.body = valid;
      return this.#enter(entry, context, execution);
    });
  }

  // Enters the middleware, if there is any, and the handler. From here on, an error is the handler's.
  #enter(entry: Registered<unknown>, context: HandlerContext, execution: Execution): MaybePromise<unknown> {
    execution.context = context;
    if (execution.stopped !== undefined) context.abort(execution.stopped.reason);
    const { middleware } = this.#registry;
    if (middleware.length === 0) {
      const result = entry.handler(context);
      return result instanceof Promise ? result : toMaybePromise(result);
    }
    const handler = async (): Promise<Reply> => replyOf(await entry.handler(context));
    return runThrough(middleware, context, handler).then(asHandlerReply);
  }
}

/** Returns the result of an application's function. A promise of another realm or library is converted to a native one. */
export function toMaybePromise(result: unknown): MaybePromise<unknown> {
  if (typeof result !== "object" || result === null) return result;
  return typeof (result as { then?: unknown }).then === "function" ? Promise.resolve(result) : result;
}

/** Returns the error for a handler's reply with a status of 400 or above. */
export function repliedWith(status: number): ConfluoError {
  return new ConfluoError("SERVICE_ERROR", `The handler replied with status ${status}.`, { status });
}

function asHandlerReply({ status, headers, body }: Reply): HandlerReply {
  return handlerReplyOf(status, headers, body);
}

/**
 * The {@link Context} of a delivery. Everything that the type names is an own property, so that `{ ...context }` copies it.
 * Only the signal is created when it is first read, because it costs more than all the rest.
 */
export class HandlerContext implements Context {
  readonly kind: MessageKind;
  readonly path: string;
  readonly params: Readonly<Record<string, string>>;
  readonly query: Query;
  readonly headers: MessageHeaders;
  /** The body as it was received, or as the schema transformed it. */
  body: unknown;
  readonly messageId: string;
  readonly from: string;
  declare readonly signal: AbortSignal;
  readonly attempt: number;
  readonly redelivered: boolean;
  readonly reply: (body: unknown, options?: ReplyOptions) => HandlerReply = makeReply;
  readonly set = <Value>(key: StateKey<Value>, value: Value): void => {
    this.#state ??= new Map();
    this.#state.set(key as StateKey<unknown>, value);
  };
  readonly get = <Value>(key: StateKey<Value>): Value | undefined =>
    this.#state?.get(key as StateKey<unknown>) as Value | undefined;
  #controller: AbortController | undefined;
  #aborted: { readonly reason: unknown } | undefined;
  #state: Map<StateKey<unknown>, unknown> | undefined;

  /** @throws `MALFORMED_MESSAGE` if the body cannot be read. */
  constructor(delivery: Delivery, params: Readonly<Record<string, string>>) {
    const { envelope, message, redelivered } = delivery;
    const body = decodeBody(message);
    this.kind = envelope.kind;
    this.path = envelope.path;
    this.params = params;
    this.query = decodeQuery(envelope.query);
    this.headers = userHeaders(message.properties.headers);
    this.body = body;
    this.messageId = envelope.messageId;
    this.from = envelope.from;
    this.attempt = envelope.attempt;
    this.redelivered = redelivered;
    Object.defineProperty(this, "signal", signalProperty);
  }

  static signalOf(context: HandlerContext): AbortSignal {
    if (context.#controller === undefined) {
      context.#controller = new AbortController();
      if (context.#aborted !== undefined) context.#controller.abort(context.#aborted.reason);
    }
    return context.#controller.signal;
  }

  /** Fires the signal. A second call does nothing. */
  abort(reason: unknown): void {
    if (this.#aborted !== undefined) return;
    this.#aborted = { reason };
    this.#controller?.abort(reason);
  }
}

// One descriptor for all contexts, so that V8 gives all of them one hidden class.
const signalProperty: PropertyDescriptor & ThisType<HandlerContext> = {
  configurable: true,
  enumerable: true,
  get(): AbortSignal {
    return HandlerContext.signalOf(this);
  },
};

function makeReply(body: unknown, options: ReplyOptions = {}): HandlerReply {
  if (typeof options !== "object" || options === null)
    throw invalidArgument("The options of reply", "an object", options);
  const { status = 200, headers = noHeaders } = options;
  if (!isReplyStatus(status))
    throw invalidArgument("The status of a reply", "a whole number from 200 to 599", status);
  return handlerReplyOf(status, checkHeaders(headers), body);
}
