/** Finding a handler for a message and running it, for calls, one-way commands and events alike. */

import { type HandlerReply, handlerReplyOf, type Reply, replyOf } from "../api/context.ts";
import type { DeadlineScope } from "../async/deadline-scope.ts";
import { type MaybePromise, toMaybePromise } from "../async/maybe-promise.ts";
import type { AnySchema } from "../contract/schema.ts";
import { HandledMessage, handledMessages, type Whose } from "../diagnostics.ts";
import { ConfluoError, isConfluoError, show } from "../errors.ts";
import { malformed } from "../protocol/codec.ts";
import type { Envelope } from "../protocol/envelope.ts";
import type { CommandEntry, Registered, Registry } from "../registry/registry.ts";
import type { HandlerStatsRecorder } from "../statistics/handler-stats.ts";
import type { Delivery } from "../transport/transport.ts";
import { validated } from "../validation/validated.ts";
import { HandlerContext } from "./handler-context.ts";
import { runThrough } from "./middleware.ts";

/** A handler that was found for a message, and what it is given. */
export interface Invocation<Entry extends Registered<unknown> = Registered<unknown>> {
  readonly entry: Entry;
  /** What it was registered for, with a leading slash if it is a subscription. */
  readonly pattern: string;
  readonly params: Readonly<Record<string, string>>;
  readonly schema: AnySchema | undefined;
}

/** A run of a handler, as it is known to the handler's surroundings. */
export interface Execution extends Pick<DeadlineScope, "context" | "stopped" | "onStop"> {
  readonly delivery: Delivery;
  /** Is set once it counts as begun. */
  tally: HandlerStatsRecorder | undefined;
}

/** The handlers of one service. */
export class HandlerInvoker {
  readonly #of: Whose;
  readonly #registry: Registry;

  constructor(of: Whose, registry: Registry) {
    this.#of = of;
    this.#registry = registry;
  }

  /** @throws `NO_SUCH_ROUTE`; `MALFORMED_MESSAGE` for a command without its path. */
  route({ path }: Envelope): Invocation<CommandEntry> {
    if (path === "")
      throw malformed("it is a command without its path, which belongs into the property type");
    const found = this.#registry.routes.find(path);
    if (found === undefined)
      throw new ConfluoError("NO_SUCH_ROUTE", `${this.#of.service} has no route for ${show(path)}.`);
    const { route, params } = found;
    return { entry: route, pattern: route.pattern, params, schema: route.contract?.input };
  }

  /** Whether there is a route. */
  hasRoute({ path }: Envelope): boolean {
    return path !== "" && this.#registry.routes.find(path) !== undefined;
  }

  /** Notes that a message came for which no handler is run, and why. Other reasons are noted by its handler's tally. */
  strayed(why: unknown): void {
    const { unmatched, malformed } = this.#registry;
    if (isConfluoError(why, "MALFORMED_MESSAGE")) malformed.received();
    else if (isConfluoError(why, "NO_SUCH_ROUTE") || isConfluoError(why, "NO_SUBSCRIPTION"))
      unmatched.received();
  }

  /**
   * Runs a handler; {@link replyOf} says what its result means. Throws or rejects with `INVALID_INPUT` or `MALFORMED_MESSAGE`
   * before the handler is entered, and with what the handler throws after.
   */
  invoke(execution: Execution, invocation: Invocation): MaybePromise<unknown> {
    execution.tally = invocation.entry.tally;
    execution.tally.began();
    if (!handledMessages.isWatched) return this.#run(execution, invocation);
    const message = new HandledMessage(this.#of, execution.delivery, invocation.pattern);
    return message.watch(
      (stopped) => {
        execution.onStop = stopped;
      },
      () => this.#run(execution, invocation),
    );
  }

  // At once if there is no schema, which may take its time.
  #run(execution: Execution, { entry, params, schema }: Invocation): MaybePromise<unknown> {
    const context = new HandlerContext(execution.delivery, params);
    if (schema === undefined) return this.#enter(entry, context, execution);
    const { kind, path } = context;
    const what = `The ${kind === "event" ? "body" : "input"} of ${path}`;
    return validated(schema, context.body, "INVALID_INPUT", what).then((valid) => {
      context.body = valid;
      return this.#enter(entry, context, execution);
    });
  }

  // From here on it is the handler's affair, inside the service's middleware if it has any.
  #enter(entry: Registered<unknown>, context: HandlerContext, execution: Execution): MaybePromise<unknown> {
    execution.context = context;
    if (execution.stopped !== undefined) context.abort(execution.stopped.reason);
    const { middleware } = this.#registry;
    if (middleware.length === 0) return toMaybePromise(entry.handler(context));
    const handler = async (): Promise<Reply> => replyOf(await entry.handler(context));
    return runThrough(middleware, context, handler).then(asHandlerReply);
  }
}

/** The error that a reply stands for whose status says 'failed'. */
export function repliedWith(status: number): ConfluoError {
  return new ConfluoError("SERVICE_ERROR", `The handler replied with status ${status}.`, { status });
}

function asHandlerReply({ status, headers, body }: Reply): HandlerReply {
  return handlerReplyOf(status, headers, body);
}
