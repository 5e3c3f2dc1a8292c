/** Takes deliveries to their handlers, and turns the results into answers and outcomes. */

import { abandoned, RunningHandlers } from "../async/deadline-scope.ts";
import { andThen, type MaybePromise } from "../async/maybe-promise.ts";
import { ConfluoError, show } from "../errors.ts";
import { type Logger, messageFields } from "../logging/logger.ts";
import type { Registry } from "../registry/registry.ts";
import { done, type Failure, type Outcome, release } from "../retry/outcome.ts";
import type { SessionSlot } from "../transport/session-slot.ts";
import type { Delivery } from "../transport/transport.ts";
import { ConcurrencyLimit } from "./concurrency-limit.ts";
import { HandlerInvoker } from "./invoke-handler.ts";
import { CallProcessor } from "./process-call.ts";
import { MessageProcessor } from "./process-message.ts";
import { InFlightMessage, RecentMessages } from "./recent-messages.ts";

/** The parts that a {@link Dispatcher} works with. */
export interface DispatcherDependencies {
  readonly service: string;
  readonly instance: string;
  readonly registry: Registry;
  readonly logger: Logger;
  /** The current session of the service. */
  readonly sessions: SessionSlot;
  /** The deadline of a call that names none, in milliseconds. */
  readonly callTimeoutMs: number;
  /** How long an event or one-way command without a handler waits for an instance that has one, in milliseconds. */
  readonly unhandledRetryMs: number;
  /** The number of places for calls. */
  readonly mostCalls: number;
  /** How many more handlers of calls may wait for answers. */
  readonly mostWaiting: number;
}

/** How many deliveries are given back at a time. */
const MOST_GIVEN_BACK = 32;
/** How many times an instance runs one call, at most, when the call is redelivered. */
const MOST_RUNS = 2;
/** The shortest time between two warnings about refused calls, in milliseconds. */
const SAY_AGAIN_MS = 10_000;

/** Runs the handlers for deliveries and settles each delivery once. */
export class Dispatcher {
  readonly #service: string;
  readonly #logger: Logger;
  readonly #places: ConcurrencyLimit;
  #saidOverloaded = Number.NEGATIVE_INFINITY;
  #givingBack = 0;
  readonly #toGiveBack: { readonly delivery: Delivery; readonly resolve: () => void }[] = [];
  readonly #running = new RunningHandlers();
  readonly #recent = new RecentMessages();
  readonly #handlers: HandlerInvoker;
  readonly #calls: CallProcessor;
  readonly #messages: MessageProcessor;
  #inHand = 0;
  /** True while nothing is in hand. Only this class writes this field. */
  isIdle = true;
  #whenIdle: (() => void)[] = [];

  constructor(parts: DispatcherDependencies) {
    const { service, registry, logger, mostCalls: most, mostWaiting, sessions } = parts;
    this.#service = service;
    this.#logger = logger;
    const places = new ConcurrencyLimit({
      most,
      mostWaiting,
      begin: (delivery, heldMs) => this.#process(delivery, new InFlightMessage(delivery, heldMs)),
      refuse: (delivery) => this.#refuse(delivery),
      allow: (messages) => sessions.session?.allow(messages),
    });
    this.#places = places;
    const running = this.#running;
    const handlers = new HandlerInvoker(parts, registry);
    this.#handlers = handlers;
    this.#calls = new CallProcessor({ ...parts, handlers, running, waits: places.waits });
    this.#messages = new MessageProcessor({ ...parts, handlers, running });
  }

  /** Handles a delivery: admits it, processes it, settles it and makes room for the next. Never throws. */
  handle(delivery: Delivery): void {
    this.#inHand += 1;
    this.isIdle = false;
    const { lane, history } = delivery;
    if (history !== "first") {
      this.#handleAgain(delivery);
      return;
    }
    // A batch may contain more calls than there are places.
    const admission = lane === "calls" ? this.#places.admit(delivery) : "now";
    if (admission === "now") this.#process(delivery, new InFlightMessage(delivery, 0));
    else if (admission === "never") this.#refuse(delivery);
  }

  #handleAgain(delivery: Delivery): void {
    if (delivery.lane === "calls") this.#places.enter(delivery);
    if (delivery.history === "isolated") this.#processIsolated(delivery);
    else this.#releaseAfter(this.#settleRedelivered(delivery), delivery);
  }

  // Creates one promise at most, and only if the work does not end in this turn.
  #process(delivery: Delivery, message: InFlightMessage): void {
    const outcome = this.#run(delivery, message);
    if (outcome instanceof Promise) {
      outcome.then(
        (later) => this.#end(delivery, message, later),
        (error: unknown) => this.#unsettled(delivery, message, error),
      );
    } else this.#end(delivery, message, outcome);
    this.#recent.begin(message);
  }

  #run(delivery: Delivery, message: InFlightMessage): MaybePromise<Outcome | typeof abandoned> {
    try {
      return delivery.lane === "calls"
        ? this.#calls.process(delivery, message)
        : this.#messages.process(delivery, message);
    } catch (error) {
      // A call that cannot be answered. Any other error is unexpected; its message becomes a dead letter, so that it is not
      // lost.
      return this.#messages.outcomeOf(delivery, [{ error, retry: "final" }], 0);
    }
  }

  #end(delivery: Delivery, message: InFlightMessage, outcome: Outcome | typeof abandoned): void {
    let settled: MaybePromise<void>;
    try {
      settled = this.#settle(delivery, message, outcome);
    } catch (error) {
      this.#unsettled(delivery, message, error);
      return;
    }
    if (settled instanceof Promise) this.#releaseAfter(settled, delivery);
    else this.#release(delivery);
  }

  // Nothing here is expected to fail. If something does, the delivery must not keep its place or stay recorded as running.
  #unsettled(delivery: Delivery, message: InFlightMessage, error: unknown): void {
    this.#say(delivery, error);
    if (!message.isOver) this.#recent.end(message, undefined);
    this.#release(delivery);
  }

  #say(delivery: Delivery, error: unknown): void {
    this.#logger.error({ err: error, ...messageFields(delivery) }, "A delivery could not be settled.");
  }

  #settle(
    delivery: Delivery,
    message: InFlightMessage,
    outcome: Outcome | typeof abandoned,
  ): MaybePromise<void> {
    if (outcome === abandoned) {
      this.#recent.end(message, undefined);
      return this.#giveBack(delivery);
    }
    const stands = delivery.settle(outcome);
    if (stands instanceof Promise)
      return stands.then((later) => this.#recent.end(message, { outcome, stands: later }));
    this.#recent.end(message, { outcome, stands });
  }

  #releaseAfter(settled: Promise<void>, delivery: Delivery): void {
    settled.then(
      () => this.#release(delivery),
      (error: unknown) => {
        this.#say(delivery, error);
        this.#release(delivery);
      },
    );
  }

  #release(delivery: Delivery): void {
    this.#handed();
    if (delivery.lane === "calls") this.#places.leave(delivery);
  }

  /** Reports a message that expired and became a dead letter: no handler here ran for it, or its copy was too late. */
  expired(delivery: Delivery, failure: Failure): void {
    this.#messages.expired(delivery, failure);
  }

  /**
   * Frees the place of a call if it runs here. Its caller, in this same service, waits no longer, so other calls may use the
   * place.
   */
  letGo(correlationId: string): void {
    this.#running.letGo(correlationId);
  }

  /** Returns whether a call is running here. */
  runs(correlationId: string): boolean {
    return this.#running.has(correlationId);
  }

  /** Marks the service as shutting down. Calls that its handlers make count as calls of such a service. */
  leaves(): void {
    this.#running.isLeaving = true;
  }

  /** Resolves when nothing is in hand. */
  idle(): Promise<void> {
    if (this.isIdle) return Promise.resolve();
    return new Promise((resolve) => this.#whenIdle.push(resolve));
  }

  /** Stops waiting for the running handlers. Their deliveries are given back, for another instance. */
  abandon(reason: unknown): void {
    this.#running.isClosed = true;
    if (this.isIdle) return;
    this.#running.abandon(reason);
    for (const delivery of this.#places.takeHeld("all")) this.#processUnasked(delivery);
  }

  /** Accepts work again after {@link abandon}. */
  resume(): void {
    this.#running.resume();
    this.#places.reset();
  }

  // Answers a call with `OVERLOADED` because the limit of waiting handlers is reached. The call is not queued, because nobody
  // knows when one of these handlers continues.
  #refuse(delivery: Delivery): void {
    if (delivery.envelope.noReturn !== undefined) {
      this.#processUnasked(delivery);
      return;
    }
    const message = `${this.#service} did not begin ${show(delivery.envelope.path)}: ${this.#places.full}.`;
    const now = performance.now();
    // There may be thousands of refused calls, so the warning is not repeated for each.
    if (now - this.#saidOverloaded >= SAY_AGAIN_MS) {
      this.#saidOverloaded = now;
      this.#logger.warn(messageFields(delivery), message);
    }
    void andThen(this.#calls.turnAway(delivery, new ConfluoError("OVERLOADED", message)), (outcome) => {
      void delivery.settle(outcome);
      this.#handed();
    });
  }

  #handed(): void {
    this.#inHand -= 1;
    if (this.#inHand > 0) return;
    this.isIdle = true;
    const waiting = this.#whenIdle;
    this.#whenIdle = [];
    for (const resolve of waiting) resolve();
  }

  // Processes a call that needs no place, because no handler will run for it: it cannot be answered, or the service shuts down.
  #processUnasked(delivery: Delivery): void {
    this.#places.enter(delivery);
    this.#process(delivery, new InFlightMessage(delivery, 0));
  }

  // Processes the copy of a suspect, which another instance may have made. This instance may have begun the original before it
  // lost its connection.
  #processIsolated(delivery: Delivery): void {
    const earlier = this.#recent.claim(delivery);
    if (earlier === undefined) this.#process(delivery, new InFlightMessage(delivery, 0));
    else if (delivery.lane !== "calls" || !earlier.isOver)
      this.#releaseAfter(this.#follow(delivery, earlier), delivery);
    else if (earlier.runs < MOST_RUNS) this.#process(delivery, new InFlightMessage(delivery, 0, earlier));
    else {
      this.#giveUp(delivery);
      this.#release(delivery);
    }
  }

  /**
   * Gives back, for another instance, the calls from other processes that wait for a place. Resolves when nothing is in hand.
   */
  async drained(): Promise<void> {
    if (this.isIdle) return;
    for (const delivery of this.#places.takeHeld("from outside"))
      void this.#giveBack(delivery).then(() => this.#handed());
    await this.idle();
  }

  /** Drops the calls from other processes that wait for a place. Their connection is lost, so the broker redelivers them. */
  dropWaiting(): void {
    for (const _ of this.#places.takeHeld("from outside")) this.#handed();
  }

  // Gives back a few at a time. When the connection closes, the broker requeues a delivery whose copy is not published yet, so
  // that the message is not duplicated.
  #giveBack(delivery: Delivery): Promise<void> {
    return new Promise((resolve) => {
      this.#toGiveBack.push({ delivery, resolve });
      this.#giveBackMore();
    });
  }

  #giveBackMore(): void {
    while (this.#givingBack < MOST_GIVEN_BACK) {
      const next = this.#toGiveBack.shift();
      if (next === undefined) return;
      this.#givingBack += 1;
      void Promise.resolve(next.delivery.settle(release)).then(() => {
        this.#givingBack -= 1;
        next.resolve();
        this.#giveBackMore();
      });
    }
  }

  // Settles a redelivered message: the instance that had it is gone, or this instance had it and has lost its connection since.
  async #settleRedelivered(delivery: Delivery): Promise<void> {
    const earlier = this.#recent.claim(delivery);
    // A call that has ended is not followed, because its answer may be lost, like its acknowledgement.
    if (earlier !== undefined && (delivery.lane !== "calls" || !earlier.isOver))
      await this.#follow(delivery, earlier);
    else if (delivery.lane !== "calls") await delivery.settle(this.#messages.afterLoss(delivery));
    else await this.#settleRedeliveredCall(delivery, earlier);
  }

  // Settles a delivery with the outcome of the work on the same message, when that work has ended.
  async #follow(delivery: Delivery, work: InFlightMessage): Promise<void> {
    const share = await work.share(delivery);
    const stands = await delivery.settle(share?.outcome ?? release);
    if (stands) share?.stood();
  }

  async #settleRedeliveredCall(delivery: Delivery, earlier: InFlightMessage | undefined): Promise<void> {
    const { envelope, history } = delivery;
    const isHarmless = envelope.noReturn !== undefined || !this.#handlers.hasRoute(envelope);
    if (isHarmless) {
      const message = new InFlightMessage(delivery, 0);
      await this.#settle(delivery, message, await this.#run(delivery, message));
      return;
    }
    const { path } = envelope;
    if (history === "redelivered" && (earlier === undefined || earlier.runs < MOST_RUNS)) {
      this.#logger.debug(
        messageFields(delivery),
        `The instance that had the call ${show(path)} is gone; the call is run again, alone.`,
      );
      const until = earlier === undefined ? {} : { until: earlier.until };
      await delivery.settle({ kind: "isolate", subscriptions: [], deaths: 0, ...until });
      return;
    }
    this.#giveUp(delivery);
  }

  #giveUp(delivery: Delivery): void {
    const path = show(delivery.envelope.path);
    const message = `${path} was run twice, the second time alone: each time, its instance or the connection was lost.`;
    this.#logger.error(messageFields(delivery), message);
    this.#calls.refuse(delivery, new ConfluoError("INSTANCE_LOST", message));
    void delivery.settle(done);
  }
}
