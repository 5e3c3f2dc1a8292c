/** Processes one-way commands and events: they are handled, tried again later, or become dead letters. */

import { abandoned, HandlerRun, overdue, type RunningHandlers } from "../async/deadline-scope.ts";
import { andThen, type MaybePromise } from "../async/maybe-promise.ts";
import { ConfluoError, isConfluoError, show } from "../errors.ts";
import { type Logger, messageFields } from "../logging/logger.ts";
import { eventKey } from "../protocol/address.ts";
import { isHandlerReply } from "../protocol/reply.ts";
import type { CommandEntry, EventEntry, Registry } from "../registry/registry.ts";
import { eventParams, type Subscription } from "../registry/subscriptions.ts";
import { decide, decideAfterDeath, done, type Failure, type Move, type Outcome } from "../retry/outcome.ts";
import type { HandlerStatsRecorder } from "../statistics/handler-stats.ts";
import type { Delivery } from "../transport/transport.ts";
import { type Execution, type HandlerInvoker, type Invocation, repliedWith } from "./invoke-handler.ts";
import type { InFlightMessage } from "./recent-messages.ts";

/** The parts that a {@link MessageProcessor} works with. */
export interface MessageProcessorDependencies {
  readonly service: string;
  readonly registry: Registry;
  readonly handlers: HandlerInvoker;
  readonly running: RunningHandlers;
  readonly logger: Logger;
  /** How long an event or one-way command without a handler waits for an instance that has one, in milliseconds. */
  readonly unhandledRetryMs: number;
}

/** The end of a message: its outcome, or `abandoned` if a shutdown stopped waiting for it. */
type MessageEnd = Outcome | typeof abandoned;

/** Runs the handlers of one-way commands and events, and decides on the outcome of each message. */
export class MessageProcessor {
  readonly #parts: MessageProcessorDependencies;

  constructor(parts: MessageProcessorDependencies) {
    this.#parts = parts;
  }

  /** Runs the handlers of a message. Returns its outcome, or `abandoned` if the shutdown stopped waiting for it. */
  process(delivery: Delivery, message: InFlightMessage): MaybePromise<MessageEnd> {
    return delivery.envelope.kind === "event" ? this.#event(delivery, message) : this.#command(delivery);
  }

  #after(delivery: Delivery, failures: readonly Failure[], began: number): MessageEnd {
    if (failures.length === 0) return done;
    if (failures.some(({ error }) => error === abandoned)) return abandoned;
    if (delivery.lane !== "instance") return this.outcomeOf(delivery, failures, performance.now() - began);
    this.#noteStray(delivery, failures);
    for (const { error, subscription } of failures) {
      this.#parts.logger.error(
        { err: error, ...messageFields(delivery), subscription },
        `The per-instance subscription to ${subscription} failed.`,
      );
    }
    return done;
  }

  /** Returns the outcome of a delivery: done if nothing failed, else a wait in a delay queue or a dead letter. */
  outcomeOf(delivery: Delivery, failures: readonly Failure[], heldMs: number): Outcome {
    const { envelope } = delivery;
    const { unhandledRetryMs } = this.#parts;
    this.#noteStray(delivery, failures);
    const outcome = decide(failures, { envelope, heldMs, unhandledRetryMs, random: Math.random });
    if (outcome.kind === "forward") for (const move of outcome.moves) this.#tell(move, delivery);
    return outcome;
  }

  /** Logs and counts a dead letter that was made without a decision here, because the message had expired. */
  expired(delivery: Delivery, failure: Failure): void {
    this.#tell({ kind: "dead-letter", failure }, delivery);
  }

  // Counts a message once, though an event that cannot be read fails for each of its subscriptions, and a message without a
  // handler is delivered repeatedly.
  #noteStray({ envelope }: Delivery, failures: readonly Failure[]): void {
    const stray = failures.find(({ retry }) => retry === "final" || retry === "unclaimed");
    if (stray !== undefined && (stray.retry === "final" || envelope.unclaimedMs === 0))
      this.#parts.handlers.strayed(stray.error);
  }

  /**
   * Returns the outcome of a message whose instance is gone. Also used if this instance has no handler, because another may
   * have one.
   */
  afterLoss(delivery: Delivery): Outcome {
    const { logger } = this.#parts;
    const { envelope, history } = delivery;
    const { path, deaths } = envelope;
    const subscriptions =
      envelope.kind === "event" ? this.#subscribed(delivery).map(({ pattern }) => pattern) : [];
    if (history === "redelivered") {
      logger.debug(
        messageFields(delivery),
        `The instance that had ${show(path)} is gone; the message is tried once more.`,
      );
      return { kind: "isolate", subscriptions, deaths };
    }
    const outcome = decideAfterDeath(envelope, subscriptions);
    if (outcome.kind === "forward") for (const move of outcome.moves) this.#tell(move, delivery);
    else {
      const message = `An instance was lost while it handled only ${show(path)}; the message is tried once more.`;
      logger.warn(messageFields(delivery), message);
    }
    return outcome;
  }

  #tell(move: Move, delivery: Delivery): void {
    const { service, logger } = this.#parts;
    const { envelope } = delivery;
    const { path, attempt } = envelope;
    const { error, subscription, retry } = move.failure;
    const waitMs = this.#count(move, delivery);
    const what =
      subscription === undefined ? show(path) : `${show(path)} for the subscription ${subscription}`;
    const details = { err: error, ...messageFields(delivery), subscription, attempt };
    if (move.kind === "dead-letter") {
      logger.error(details, `${service} did not handle ${what}; it goes to the dead-letter queue.`);
      return;
    }
    if (move.kind === "retry") {
      const tries = `try ${attempt}${typeof retry === "object" ? ` of ${retry.attempts}` : ""}`;
      logger.warn(details, `${service} did not handle ${what}, ${tries}; again in ${waitMs / 1_000} s.`);
      return;
    }
    if (envelope.unclaimedMs > 0) return;
    // A message that expires earlier becomes a dead letter earlier.
    const leftMs = (move.expiresMs ?? Number.POSITIVE_INFINITY) + waitMs;
    const grace = `${Math.min(this.#parts.unhandledRetryMs, leftMs) / 1_000} s`;
    logger.warn(details, `${service} has no handler for ${what} here; it goes round for up to ${grace}.`);
  }

  /** Counts the outcome of a message. Returns how long it waits until it is tried again, in milliseconds. */
  #count(move: Move, delivery: Delivery): number {
    const { registry } = this.#parts;
    const { error, subscription } = move.failure;
    if (move.kind === "dead-letter") {
      // Counted once: for the handler of the message, if it has one here; for an event as a whole, for its first subscription.
      const isWhole = delivery.envelope.kind === "event" && subscription === undefined;
      const tally = isWhole
        ? this.#subscribed(delivery)[0]?.handler.tally
        : this.#tallyOf(delivery, subscription);
      if (tally !== undefined) tally.deadLettered();
      else if (isConfluoError(error, "MALFORMED_MESSAGE")) registry.malformed.deadLettered();
      else registry.unmatched.deadLettered();
      return 0;
    }
    const { waitMs } = move;
    if (move.kind === "retry") this.#tallyOf(delivery, subscription)?.retried(waitMs);
    else registry.unclaimed.add(waitMs);
    return waitMs;
  }

  // Returns the recorder of a message's handler. `subscription` selects one of an event's subscriptions.
  #tallyOf({ lane, envelope }: Delivery, subscription: string | undefined): HandlerStatsRecorder | undefined {
    const { routes, subscriptions } = this.#parts.registry;
    if (envelope.kind !== "event") return routes.find(envelope.path)?.route.tally;
    if (subscription === undefined) return undefined;
    return subscriptions.find(subscription, lane === "instance" ? "instance" : "service")?.handler.tally;
  }

  #command(delivery: Delivery): MaybePromise<MessageEnd> {
    const { handlers, running } = this.#parts;
    const began = performance.now();
    let invocation: Invocation<CommandEntry>;
    try {
      invocation = handlers.route(delivery.envelope);
    } catch (error) {
      const retry = isConfluoError(error, "NO_SUCH_ROUTE") ? "unclaimed" : "final";
      return this.#after(delivery, [{ error, retry }], began);
    }
    return new Attempt(running, {
      delivery,
      handlers,
      invocation,
      subscription: undefined,
      ended: (failure) => this.#after(delivery, listed(failure), began),
    }).run();
  }

  #event(delivery: Delivery, message: InFlightMessage): MaybePromise<MessageEnd> {
    const began = performance.now();
    const matching = this.#subscribed(delivery);
    message.subscriptions = matching;
    const [first, ...others] = matching;
    if (first === undefined) return this.#after(delivery, this.#unsubscribed(delivery), began);
    if (others.length === 0)
      return this.#attempt(delivery, first, (failure) => this.#after(delivery, listed(failure), began));
    // The subscriptions run side by side. The outcome of the event is decided when the last has ended.
    const attempts = matching.map((each) => this.#attempt(delivery, each, listed));
    return andThen(together(attempts), (failures) => this.#after(delivery, failures.flat(), began));
  }

  #attempt<End>(
    delivery: Delivery,
    { pattern, handler, parameters }: Subscription<EventEntry>,
    ended: (failure: Failure | undefined) => End,
  ): MaybePromise<End> {
    const { handlers, running } = this.#parts;
    const params = eventParams(parameters, delivery.envelope.path);
    const invocation = { entry: handler, pattern, params, schema: handler.contract?.body };
    return new Attempt(running, { delivery, handlers, invocation, subscription: pattern, ended }).run();
  }

  // Returns the subscriptions that match an event. A copy that names one subscription is only for that one.
  #subscribed({ lane, envelope }: Delivery): readonly Subscription<EventEntry>[] {
    const { subscriptions } = this.#parts.registry;
    const per = lane === "instance" ? "instance" : "service";
    const matching = subscriptions.match(keyOf(envelope.path), per);
    if (envelope.subscription === undefined) return matching;
    const only = subscriptions.find(envelope.subscription, per);
    return only !== undefined && matching.includes(only) ? [only] : [];
  }

  #unsubscribed({ lane, envelope }: Delivery): readonly Failure[] {
    if (lane === "instance") return none;
    const { service } = this.#parts;
    const { path, subscription } = envelope;
    if (subscription === undefined) {
      const error = new ConfluoError("NO_SUBSCRIPTION", `${service} does not subscribe to ${show(path)}.`);
      return [{ error, retry: "unclaimed" }];
    }
    const message = `${service} does not subscribe to ${show(subscription)} any more.`;
    return [{ error: new ConfluoError("NO_SUBSCRIPTION", message), subscription, retry: "unclaimed" }];
  }
}

/** The parts of an {@link Attempt}. */
interface AttemptDetails<End> {
  readonly delivery: Delivery;
  readonly handlers: HandlerInvoker;
  readonly invocation: Invocation;
  /** The pattern of the subscription; `undefined` for a command. */
  readonly subscription: string | undefined;
  /** Returns the end of the attempt; the failure is `undefined` if the handler succeeded. */
  readonly ended: (failure: Failure | undefined) => End;
}

/**
 * One run of the handler of a one-way command or an event. Counts how it ends, and reports whether the message may be tried
 * again.
 */
class Attempt<End> extends HandlerRun<unknown, End> implements Execution {
  readonly #details: AttemptDetails<End>;
  readonly delivery: Delivery;
  override readonly correlationId = undefined;
  tally: HandlerStatsRecorder | undefined;

  constructor(running: RunningHandlers, details: AttemptDetails<End>) {
    // No `waits`: this handler keeps its place while it waits for the answer to a call, because calls have places of their own.
    super(details.invocation.entry.timeoutMs, running, undefined);
    this.#details = details;
    this.delivery = details.delivery;
  }

  override get what(): string {
    return `the handler of ${this.delivery.envelope.path}`;
  }

  override work(): MaybePromise<unknown> {
    return this.#details.handlers.invoke(this, this.#details.invocation);
  }

  override returned(result: unknown): End {
    let status = 200;
    try {
      if (isHandlerReply(result)) status = result.status;
    } catch (error) {
      return this.failed(error);
    }
    // No caller receives this reply, so a status of 400 or above counts as a failure.
    if (status >= 400) return this.failed(repliedWith(status));
    this.tally?.succeeded(this.began, this.delivery.envelope.from);
    return this.#details.ended(undefined);
  }

  override failed(thrown: unknown): End {
    const { invocation, subscription, ended } = this.#details;
    const error = thrown === overdue ? this.#timeout() : thrown;
    if (thrown === abandoned) this.tally?.abandoned();
    else this.tally?.failed(this.began, this.delivery.envelope.from, error);
    // A message that fails before its handler is entered would fail again after a wait.
    const isEntered = this.context !== undefined || thrown === overdue;
    const failure = { error, retry: isEntered ? invocation.entry.retry : "final" } as const;
    return ended(subscription === undefined ? failure : { ...failure, subscription });
  }

  #timeout(): ConfluoError {
    const { lane, envelope } = this.delivery;
    return new ConfluoError(
      "TIMEOUT",
      `The handler of ${envelope.path} ran longer than its limit of ${this.ms} ms on the ${lane} lane.`,
    );
  }
}

const none: readonly Failure[] = [];

function listed(failure: Failure | undefined): readonly Failure[] {
  return failure === undefined ? none : [failure];
}

function together<Value>(values: readonly MaybePromise<Value>[]): MaybePromise<readonly Value[]> {
  const isPromised = values.some((value) => value instanceof Promise);
  return isPromised ? Promise.all(values) : (values as readonly Value[]);
}

// Subscriptions match routing keys, but the envelope has the path. The key of a foreign sender may be one that confluo never
// makes.
function keyOf(path: string): string {
  try {
    return eventKey(path);
  } catch {
    return path.slice(1).replaceAll("/", ".");
  }
}
