/** One-way commands and events: handled, tried again later, or a dead letter. */

import { andThen, type MaybePromise } from "../async/maybe-promise.ts";
import { ConfluoError, isConfluoError, show } from "../errors.ts";
import type { Logger } from "../logging/logger.ts";
import { messageFields } from "../logging/message-fields.ts";
import type { CommandEntry, EventEntry, Registry } from "../registry/registry.ts";
import type { FoundRoute } from "../registry/router.ts";
import type { Subscription } from "../registry/subscriptions.ts";
import { decide, decideAfterDeath, done, type Failure, type Move, type Outcome } from "../retry/outcome.ts";
import type { Delivery } from "../transport/transport.ts";
import { Attempt } from "./attempt.ts";
import { abandoned, type HandlerRunner } from "./handler-runner.ts";
import type { HandlerInvoker } from "./invoke-handler.ts";
import type { InFlightMessage } from "./recent-messages.ts";

/** What handling needs of its surroundings. */
export interface MessageProcessorDependencies {
  readonly service: string;
  readonly registry: Registry;
  readonly handlers: HandlerInvoker;
  readonly runs: HandlerRunner;
  readonly logger: Logger;
  /** How long an event or one-way command without a handler goes round, in milliseconds. */
  readonly unhandledRetryMs: number;
}

/** Runs the handlers of durable messages and says what becomes of them. */
export class MessageProcessor {
  readonly #parts: MessageProcessorDependencies;

  constructor(parts: MessageProcessorDependencies) {
    this.#parts = parts;
  }

  /** Runs what a message is for. Returns what becomes of it, or that the shutdown stopped waiting for it. */
  process(delivery: Delivery, message: InFlightMessage): MaybePromise<Outcome | typeof abandoned> {
    return delivery.envelope.kind === "event" ? this.#event(delivery, message) : this.#command(delivery);
  }

  #after(delivery: Delivery, failures: readonly Failure[], began: number): Outcome | typeof abandoned {
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

  /** Done if nothing failed; else round a delay queue, or to the dead letters. */
  outcomeOf(delivery: Delivery, failures: readonly Failure[], heldMs: number): Outcome {
    const { envelope } = delivery;
    const { unhandledRetryMs } = this.#parts;
    this.#noteStray(delivery, failures);
    const outcome = decide(failures, { envelope, heldMs, unhandledRetryMs, random: Math.random });
    if (outcome.kind === "forward") for (const move of outcome.moves) this.#tell(move, delivery);
    return outcome;
  }

  /** Tells of a dead letter that was made without asking what becomes of the message: its time was over. */
  expired(delivery: Delivery, failure: Failure): void {
    this.#tell({ kind: "dead-letter", failure }, delivery);
  }

  // Once for a message, though an event that cannot be read fails for each of its subscriptions, and one without any comes
  // again and again.
  #noteStray({ envelope }: Delivery, failures: readonly Failure[]): void {
    const stray = failures.find(({ retry }) => retry === "final" || retry === "unclaimed");
    if (stray !== undefined && (stray.retry === "final" || envelope.unclaimedMs === 0))
      this.#parts.handlers.strayed(stray.error);
  }

  /** What becomes of a message whose instance is gone, also if nothing here would handle it: another instance may. */
  afterLoss(delivery: Delivery): Outcome {
    const { handlers, logger } = this.#parts;
    const { envelope, history } = delivery;
    const { path, deaths } = envelope;
    const subscriptions =
      envelope.kind === "event" ? handlers.subscribed(delivery).map(({ pattern }) => pattern) : [];
    if (history === "redelivered") {
      logger.debug(
        messageFields(delivery),
        `An instance that had ${show(path)} is gone; it is tried once more.`,
      );
      return { kind: "isolate", subscriptions, deaths };
    }
    const outcome = decideAfterDeath(envelope, subscriptions);
    if (outcome.kind === "forward") for (const move of outcome.moves) this.#tell(move, delivery);
    else {
      const message = `An instance that handled ${show(path)}, and nothing else beside it, is gone; once more.`;
      logger.warn(messageFields(delivery), message);
    }
    return outcome;
  }

  #tell(move: Move, delivery: Delivery): void {
    const { service, logger, handlers } = this.#parts;
    const { envelope } = delivery;
    const { path, attempt } = envelope;
    const { error, subscription, retry } = move.failure;
    const what =
      subscription === undefined ? show(path) : `${show(path)} for the subscription ${subscription}`;
    const details = { err: error, ...messageFields(delivery), subscription, attempt };
    if (move.kind === "dead-letter") {
      handlers.deadLettered(delivery, subscription, error);
      logger.error(details, `${service} did not handle ${what}; it goes to the dead-letter queue.`);
      return;
    }
    const waitMs = move.hop.levelMs + move.hop.restMs;
    const seconds = waitMs / 1_000;
    if (move.kind === "retry") {
      handlers.tallyOf(delivery, subscription)?.retried(waitMs);
      const tries = `try ${attempt}${typeof retry === "object" ? ` of ${retry.attempts}` : ""}`;
      logger.warn(details, `${service} did not handle ${what}, ${tries}; again in ${seconds} s.`);
      return;
    }
    this.#parts.registry.unclaimed.add(waitMs);
    if (envelope.unclaimedMs > 0) return;
    // What expires earlier goes to the dead letters earlier.
    const leftMs = (move.expiresMs ?? Number.POSITIVE_INFINITY) + waitMs;
    const grace = `${Math.min(this.#parts.unhandledRetryMs, leftMs) / 1_000} s`;
    logger.warn(details, `${service} has no handler for ${what} here; it goes round for up to ${grace}.`);
  }

  #command(delivery: Delivery): MaybePromise<Outcome | typeof abandoned> {
    const { handlers, runs } = this.#parts;
    const began = performance.now();
    let found: FoundRoute<CommandEntry>;
    try {
      found = handlers.route(delivery.envelope);
    } catch (error) {
      const retry = isConfluoError(error, "NO_SUCH_ROUTE") ? "unclaimed" : "final";
      return this.#after(delivery, [{ error, retry }], began);
    }
    const attempt = new Attempt({
      delivery,
      registered: found.route,
      subscription: undefined,
      handle: (execution) => handlers.command(delivery, found, execution),
      ended: (failure) => this.#after(delivery, listed(failure), began),
    });
    return runs.run(attempt);
  }

  #event(delivery: Delivery, message: InFlightMessage): MaybePromise<Outcome | typeof abandoned> {
    const { handlers } = this.#parts;
    const began = performance.now();
    const matching = handlers.subscribed(delivery);
    message.subscriptions = matching;
    const [first, ...others] = matching;
    if (first === undefined) return this.#after(delivery, this.#unsubscribed(delivery), began);
    if (others.length === 0)
      return this.#attempt(delivery, first, (failure) => this.#after(delivery, listed(failure), began));
    // Side by side; what becomes of the event is decided when the last of them has ended.
    const attempts = matching.map((each) => this.#attempt(delivery, each, listed));
    return andThen(together(attempts), (failures) => this.#after(delivery, failures.flat(), began));
  }

  #attempt<End>(
    delivery: Delivery,
    subscription: Subscription<EventEntry>,
    ended: (failure: Failure | undefined) => End,
  ): MaybePromise<End> {
    const { handlers, runs } = this.#parts;
    const attempt = new Attempt({
      delivery,
      registered: subscription.handler,
      subscription: subscription.pattern,
      handle: (execution) => handlers.event(delivery, subscription, execution),
      ended,
    });
    return runs.run(attempt);
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

const none: readonly Failure[] = [];

function listed(failure: Failure | undefined): readonly Failure[] {
  return failure === undefined ? none : [failure];
}

function together<Value>(values: readonly MaybePromise<Value>[]): MaybePromise<readonly Value[]> {
  const isPromised = values.some((value) => value instanceof Promise);
  return isPromised ? Promise.all(values) : (values as readonly Value[]);
}
