/** From a delivery to its handlers, and from what they did to an answer and an outcome. */

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

/** The parts that a dispatcher works with. */
export interface DispatcherDependencies {
  readonly service: string;
  readonly instance: string;
  readonly registry: Registry;
  readonly logger: Logger;
  /** The session at the moment. */
  readonly sessions: SessionSlot;
  /** Deadline of a call that names none, in milliseconds. */
  readonly callTimeoutMs: number;
  /** How long an event or one-way command without a handler goes round, in milliseconds. */
  readonly unhandledRetryMs: number;
  /** Places for calls, and how many handlers of calls may wait for answers besides. */
  readonly mostCalls: number;
  readonly mostWaiting: number;
}

const MOST_GIVEN_BACK = 32;
/** How often a call is begun. */
const MOST_RUNS = 2;
const SAY_AGAIN_MS = 10_000;

/** Runs handlers for deliveries; settles each delivery once. */
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
  /** True while nothing is in hand. Only this class writes it. */
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

  /** Takes a delivery: admits it, processes it, settles it and makes room for the next. Never throws. */
  handle(delivery: Delivery): void {
    this.#inHand += 1;
    this.isIdle = false;
    const { lane, history } = delivery;
    if (history !== "first") {
      this.#handleAgain(delivery);
      return;
    }
    // A batch may hold more calls than there are places.
    const admission = lane === "calls" ? this.#places.admit(delivery) : "now";
    if (admission === "now") this.#process(delivery, new InFlightMessage(delivery, 0));
    else if (admission === "never") this.#refuse(delivery);
  }

  #handleAgain(delivery: Delivery): void {
    if (delivery.lane === "calls") this.#places.enter(delivery);
    if (delivery.history === "isolated") this.#processIsolated(delivery);
    else this.#releaseAfter(this.#settleRedelivered(delivery), delivery);
  }

  // A promise is made for what is not over at once, and no more than one.
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
      // A call that cannot be answered. If anything else is ever thrown, the message must not be lost for it.
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

  // Nothing in between throws; if anything ever did, neither its place nor what comes again must be lost for it.
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

  /** A message became a dead letter since its time was over; nothing here ran it, or its copy came too late. */
  expired(delivery: Delivery, failure: Failure): void {
    this.#messages.expired(delivery, failure);
  }

  /** Takes its place from a call, if it runs here: its caller, here too, waits no longer, and others must not wait for it. */
  letGo(correlationId: string): void {
    this.#running.letGo(correlationId);
  }

  /** Returns whether a call has been begun here and has not ended. */
  runs(correlationId: string): boolean {
    return this.#running.has(correlationId);
  }

  /** Notes that the service leaves: from now on, the calls of its handlers are those of a service that leaves. */
  leaves(): void {
    this.#running.isLeaving = true;
  }

  /** Resolves when nothing is in hand. */
  idle(): Promise<void> {
    if (this.isIdle) return Promise.resolve();
    return new Promise((resolve) => this.#whenIdle.push(resolve));
  }

  /** Stops waiting for what runs; its deliveries go back, for another instance. */
  abandon(reason: unknown): void {
    this.#running.isClosed = true;
    if (this.isIdle) return;
    this.#running.abandon(reason);
    for (const delivery of this.#places.takeHeld("all")) this.#processUnasked(delivery);
  }

  /** Takes work again after {@link abandon}. */
  resume(): void {
    this.#running.resume();
    this.#places.reset();
  }

  // As many handlers wait for answers as may: at once, since nobody knows when one of them goes on.
  #refuse(delivery: Delivery): void {
    if (delivery.envelope.noReturn !== undefined) {
      this.#processUnasked(delivery);
      return;
    }
    const message = `${this.#service} did not begin ${show(delivery.envelope.path)}: ${this.#places.full}.`;
    const now = performance.now();
    // Repeated only now and then: there may be thousands.
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

  // No handler runs for it, so there need be no place.
  #processUnasked(delivery: Delivery): void {
    this.#places.enter(delivery);
    this.#process(delivery, new InFlightMessage(delivery, 0));
  }

  // The copy of a suspect, which another instance made: this one may have begun the original before it lost its connection.
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

  /** Gives back, for another instance, what came from outside and waits for a place. Resolves when nothing is in hand. */
  async drained(): Promise<void> {
    if (this.isIdle) return;
    for (const delivery of this.#places.takeHeld("from outside"))
      void this.#giveBack(delivery).then(() => this.#handed());
    await this.idle();
  }

  /** Forgets what waits for a place: its connection is gone, and the broker delivers it again. */
  dropWaiting(): void {
    for (const _ of this.#places.takeHeld("from outside")) this.#handed();
  }

  // Some at a time: what has not begun to go out when the connection closes is returned by the broker, not doubled.
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

  // An instance had it and is gone, or this one has lost its connection since.
  async #settleRedelivered(delivery: Delivery): Promise<void> {
    const earlier = this.#recent.claim(delivery);
    // The answer of a call that has ended may be lost with its acknowledgement.
    if (earlier !== undefined && (delivery.lane !== "calls" || !earlier.isOver))
      await this.#follow(delivery, earlier);
    else if (delivery.lane !== "calls") await delivery.settle(this.#messages.afterLoss(delivery));
    else await this.#settleRedeliveredCall(delivery, earlier);
  }

  // Ends a delivery as the work on its message ends, or has ended.
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
        `An instance that had the call ${show(path)} is gone; it runs alone.`,
      );
      const until = earlier === undefined ? {} : { until: earlier.until };
      await delivery.settle({ kind: "isolate", subscriptions: [], deaths: 0, ...until });
      return;
    }
    this.#giveUp(delivery);
  }

  #giveUp(delivery: Delivery): void {
    const path = show(delivery.envelope.path);
    const message = `${path} was run twice, the second time alone: each time the instance, or its connection, was lost.`;
    this.#logger.error(messageFields(delivery), message);
    this.#calls.refuse(delivery, new ConfluoError("INSTANCE_LOST", message));
    void delivery.settle(done);
  }
}
