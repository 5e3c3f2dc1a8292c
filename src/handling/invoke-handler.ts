/** Finding a handler for a message and running it, for calls, one-way commands and events alike. */

import { type HandlerReply, handlerReplyOf, isHandlerReply, noHeaders, type Reply } from "../api/context.ts";
import { type MaybePromise, toMaybePromise } from "../async/maybe-promise.ts";
import type { AnySchema } from "../contract/schema.ts";
import { HandledMessage, handledMessages, type Whose } from "../diagnostics.ts";
import { ConfluoError, isConfluoError, show } from "../errors.ts";
import { bindingKey, eventKey } from "../protocol/address.ts";
import { decodeBody, malformed } from "../protocol/codec.ts";
import type { Envelope } from "../protocol/envelope.ts";
import type { CommandEntry, EventEntry, Registered, Registry } from "../registry/registry.ts";
import type { FoundRoute } from "../registry/router.ts";
import { eventParams, type Subscription } from "../registry/subscriptions.ts";
import type { HandlerStatsRecorder } from "../statistics/handler-stats.ts";
import type { UnhandledStatsRecorder } from "../statistics/unhandled-stats.ts";
import type { Delivery } from "../transport/transport.ts";
import { validated } from "../validation/validated.ts";
import { HandlerContext } from "./handler-context.ts";
import type { Execution } from "./handler-runner.ts";
import { runThrough } from "./middleware.ts";

/** The handlers of one service. */
export class HandlerInvoker {
  readonly #of: Whose;
  readonly #registry: Registry;

  constructor(of: Whose, registry: Registry) {
    this.#of = of;
    this.#registry = registry;
  }

  /** @throws `NO_SUCH_ROUTE`; `MALFORMED_MESSAGE` for a command without its path. */
  route({ path }: Envelope): FoundRoute<CommandEntry> {
    if (path === "")
      throw malformed("it is a command without its path, which belongs into the property type");
    const found = this.#registry.routes.find(path);
    if (found !== undefined) return found;
    throw new ConfluoError("NO_SUCH_ROUTE", `${this.#of.service} has no route for ${show(path)}.`);
  }

  /** Notes that a message came for which no handler is run, and why. Other reasons are noted by its handler's tally. */
  strayed(why: unknown): void {
    const { unmatched, malformed } = this.#registry;
    if (isConfluoError(why, "MALFORMED_MESSAGE")) malformed.received();
    else if (isConfluoError(why, "NO_SUCH_ROUTE") || isConfluoError(why, "NO_SUBSCRIPTION"))
      unmatched.received();
  }

  /**
   * Counts a dead letter once: for its handler, if it has one here, and for the first of those that an event as a whole is
   * for. `subscription` names the one of several.
   */
  deadLettered(delivery: Delivery, subscription: string | undefined, why: unknown): void {
    const { unmatched, malformed } = this.#registry;
    const stray: UnhandledStatsRecorder = isConfluoError(why, "MALFORMED_MESSAGE") ? malformed : unmatched;
    const isWhole = delivery.envelope.kind === "event" && subscription === undefined;
    const tally = isWhole
      ? this.subscribed(delivery)[0]?.handler.tally
      : this.tallyOf(delivery, subscription);
    (tally ?? stray).deadLettered();
  }

  /** The tally of what a message is for; `subscription` names the one of several. */
  tallyOf({ lane, envelope }: Delivery, subscription: string | undefined): HandlerStatsRecorder | undefined {
    if (envelope.kind !== "event") return this.#registry.routes.find(envelope.path)?.route.tally;
    const key = subscription === undefined ? undefined : bindingKeyOf(subscription);
    if (key === undefined) return undefined;
    return this.#registry.subscriptions.find(key, lane === "instance" ? "instance" : "service")?.handler
      .tally;
  }

  /** Whether there is a route. */
  hasRoute({ path }: Envelope): boolean {
    return path !== "" && this.#registry.routes.find(path) !== undefined;
  }

  /** The subscriptions that an event is for: all that match or, of one published again, the one that it names. */
  subscribed({ lane, envelope }: Delivery): readonly Subscription<EventEntry>[] {
    const per = lane === "instance" ? "instance" : "service";
    const matching = this.#registry.subscriptions.match(keyOf(envelope.path), per);
    if (envelope.subscription === undefined) return matching;
    const only = bindingKeyOf(envelope.subscription);
    return matching.filter(({ key }) => key === only);
  }

  /**
   * Runs a route's handler; {@link replyOf} says what its result means. Throws or rejects with `INVALID_INPUT` or
   * `MALFORMED_MESSAGE` before the run is entered, and with what the handler throws after.
   */
  command(delivery: Delivery, found: FoundRoute<CommandEntry>, run: Execution): MaybePromise<unknown> {
    if (!handledMessages.isWatched) return this.#command(delivery, found, run);
    const message = new HandledMessage(this.#of, delivery, found.route.pattern);
    return message.watch(
      (stopped) => run.onStop(stopped),
      () => this.#command(delivery, found, run),
    );
  }

  #command(
    delivery: Delivery,
    { route, params }: FoundRoute<CommandEntry>,
    run: Execution,
  ): MaybePromise<unknown> {
    return this.#run(route, { delivery, params, schema: route.contract?.input, what: "input", run });
  }

  /** Runs a subscription's handler, and throws as {@link command} does. */
  event(delivery: Delivery, subscription: Subscription<EventEntry>, run: Execution): MaybePromise<unknown> {
    if (!handledMessages.isWatched) return this.#event(delivery, subscription, run);
    const message = new HandledMessage(this.#of, delivery, subscription.pattern);
    return message.watch(
      (stopped) => run.onStop(stopped),
      () => this.#event(delivery, subscription, run),
    );
  }

  #event(
    delivery: Delivery,
    { pattern, handler }: Subscription<EventEntry>,
    run: Execution,
  ): MaybePromise<unknown> {
    const params = eventParams(pattern, delivery.envelope.path);
    return this.#run(handler, { delivery, params, schema: handler.contract?.body, what: "body", run });
  }

  // At once if there is no schema, which may take its time.
  #run(
    entry: Registered<unknown>,
    { delivery, params, schema, what, run }: Invocation,
  ): MaybePromise<unknown> {
    const body = decodeBody(delivery.message);
    if (schema === undefined) return this.#enter(entry, new HandlerContext(delivery, params, body), run);
    const { path } = delivery.envelope;
    return validated(schema, body, "INVALID_INPUT", `The ${what} of ${path}`).then((valid) =>
      this.#enter(entry, new HandlerContext(delivery, params, valid), run),
    );
  }

  // From here on it is the handler's affair, inside the service's middleware if it has any.
  #enter(entry: Registered<unknown>, context: HandlerContext, run: Execution): MaybePromise<unknown> {
    run.enter(context);
    const { middleware } = this.#registry;
    if (middleware.length === 0) return toMaybePromise(entry.handler(context));
    const handler = async (): Promise<Reply> => replyOf(await entry.handler(context));
    return runThrough(middleware, context, handler).then(asHandlerReply);
  }
}

interface Invocation {
  readonly delivery: Delivery;
  readonly params: Readonly<Record<string, string>>;
  readonly schema: AnySchema | undefined;
  readonly what: "input" | "body";
  readonly run: Execution;
}

/** The reply that a handler means by what it returned. */
export function replyOf(result: unknown): Reply {
  return isHandlerReply(result) ? result : { status: 200, headers: noHeaders, body: result };
}

/** The status of the reply that a handler means by what it returned. */
export function statusOf(result: unknown): number {
  return isHandlerReply(result) ? result.status : 200;
}

/** The error that a reply stands for whose status says 'failed'. */
export function repliedWith(status: number): ConfluoError {
  return new ConfluoError("SERVICE_ERROR", `The handler replied with status ${status}.`, { status });
}

function asHandlerReply({ status, headers, body }: Reply): HandlerReply {
  return handlerReplyOf(status, headers, body);
}

// Subscriptions match keys and contexts show paths. A foreign key may be one that no path of ours would give.
function keyOf(path: string): string {
  try {
    return eventKey(path);
  } catch {
    return path.slice(1).replaceAll("/", ".");
  }
}

// By key, not by pattern: a new version may have renamed a parameter. What a foreign sender wrote may be no pattern.
function bindingKeyOf(pattern: string): string | undefined {
  try {
    return bindingKey(pattern);
  } catch {
    return undefined;
  }
}
