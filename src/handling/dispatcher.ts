/** From a delivery to its handlers, and from what they did to an answer and an outcome. */

import type { Gate } from "../async/gate.ts";
import { isPromise } from "../async/maybe-promise.ts";
import { ConfluoError, show } from "../errors.ts";
import type { Logger } from "../logging/logger.ts";
import { messageFields } from "../logging/message-fields.ts";
import { malformed } from "../protocol/codec.ts";
import type { Message } from "../protocol/message.ts";
import type { Registry } from "../registry/registry.ts";
import { done, type Failure, type Outcome, release } from "../retry/outcome.ts";
import type { Delivery, Settled } from "../transport/transport.ts";
import { ConcurrencyLimit } from "./concurrency-limit.ts";
import { abandoned, HandlerRunner } from "./handler-runner.ts";
import { HandlerInvoker } from "./invoke-handler.ts";
import { CallProcessor, whyUnanswerable } from "./process-call.ts";
import { MessageProcessor } from "./process-message.ts";
import { type Completion, InFlightMessage, RecentMessages } from "./recent-messages.ts";

/** What dispatch needs of its surroundings. */
export interface DispatcherDependencies {
  readonly service: string;
  readonly instance: string;
  readonly registry: Registry;
  readonly logger: Logger;
  /** The most that an answer may take, in bytes. */
  readonly maxBodyBytes: () => number;
  /** Deadline of a call that names none, in milliseconds. */
  readonly callTimeoutMs: number;
  /** How long an event or one-way command without a handler goes round, in milliseconds. */
  readonly unhandledRetryMs: number;
  /** Places for calls, and how many handlers of calls may wait for answers besides. */
  readonly mostCalls: number;
  readonly mostWaiting: number;
  /** Has the broker hand over so many messages of calls before it sees one of them settled. */
  allow(messages: number): void;
  /** Returns what opens when the broker, if it is behind with what was published, takes more. */
  reply(to: string, message: Message, failed?: Settled): Gate | undefined;
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
  readonly #runs = new HandlerRunner();
  readonly #recent = new RecentMessages();
  readonly #handlers: HandlerInvoker;
  readonly #answering: CallProcessor;
  readonly #handling: MessageProcessor;
  #inHand = 0;
  #whenIdle: (() => void)[] = [];

  constructor(parts: DispatcherDependencies) {
    const { service, registry, logger, mostCalls: most, mostWaiting, allow } = parts;
    this.#service = service;
    this.#logger = logger;
    const places = new ConcurrencyLimit({
      most,
      mostWaiting,
      begin: (delivery, heldMs) => this.#begin(delivery, heldMs),
      refuse: (delivery) => this.#refuse(delivery),
      allow,
    });
    this.#places = places;
    const runs = this.#runs;
    const handlers = new HandlerInvoker(parts, registry);
    this.#handlers = handlers;
    this.#answering = new CallProcessor({ ...parts, handlers, runs, waits: places.waits });
    this.#handling = new MessageProcessor({ ...parts, handlers, runs });
  }

  /** Takes a delivery; never throws. */
  handle(delivery: Delivery): void {
    this.#inHand += 1;
    // What came together may be more than there are places.
    const admission =
      delivery.lane === "calls" && delivery.history === "first" ? this.#places.admit(delivery) : "now";
    if (admission === "now") this.#begin(delivery, 0);
    else if (admission === "never") this.#refuse(delivery);
  }

  #begin(delivery: Delivery, heldMs: number): void {
    if (delivery.lane === "calls") this.#places.enter(delivery);
    const end = (): void => this.#released(delivery);
    const { history: record } = delivery;
    if (record === "first" || record === "isolated") {
      this.#run(new InFlightMessage(delivery, heldMs), end);
      return;
    }
    this.#back(delivery).then(end, (error: unknown) => {
      this.#logger.error({ err: error, ...messageFields(delivery) }, "A delivery could not be settled.");
      end();
    });
  }

  /** A message became a dead letter since its time was over; nothing here ran it, or its copy came too late. */
  expired(delivery: Delivery, failure: Failure): void {
    this.#handling.expired(delivery, failure);
  }

  /** Takes its place from a call, if it runs here: its caller, here too, waits no longer, and others must not wait for it. */
  letGo(correlationId: string): void {
    this.#runs.letGo(correlationId);
  }

  /** Whether a call has been begun here and has not ended. */
  runs(correlationId: string): boolean {
    return this.#runs.has(correlationId);
  }

  /** What its handlers call is called by a service that leaves. */
  leaves(): void {
    this.#runs.isLeaving = true;
  }

  get isIdle(): boolean {
    return this.#inHand === 0;
  }

  /** Resolves when nothing is in hand. */
  idle(): Promise<void> {
    if (this.#inHand === 0) return Promise.resolve();
    return new Promise((resolve) => this.#whenIdle.push(resolve));
  }

  /** Stops waiting for what runs; its deliveries go back, for another instance. */
  abandon(reason: unknown): void {
    this.#runs.abandon(reason);
    for (const delivery of this.#places.takeHeld("all")) this.#begin(delivery, 0);
  }

  /** Takes work again after {@link abandon}. */
  resume(): void {
    this.#runs.resume();
    this.#places.reset();
  }

  #released(delivery: Delivery): void {
    if (delivery.lane === "calls") this.#places.leave(delivery);
    this.#handed();
  }

  // As many handlers wait for answers as may: at once, since nobody knows when one of them goes on.
  #refuse(delivery: Delivery): void {
    if (whyUnanswerable(delivery) !== undefined) {
      this.#begin(delivery, 0);
      return;
    }
    const message = `${this.#service} did not begin ${show(delivery.envelope.path)}: ${this.#places.full}.`;
    const now = performance.now();
    // Repeated only now and then: there may be thousands.
    if (now - this.#saidOverloaded >= SAY_AGAIN_MS) {
      this.#saidOverloaded = now;
      this.#logger.warn(messageFields(delivery), message);
    }
    this.#answering.turnAway(delivery, new ConfluoError("OVERLOADED", message), () => {
      void delivery.settle(done);
      this.#handed();
    });
  }

  #handed(): void {
    this.#inHand -= 1;
    if (this.#inHand > 0) return;
    const waiting = this.#whenIdle;
    this.#whenIdle = [];
    for (const resolve of waiting) resolve();
  }

  #run(work: InFlightMessage, over: () => void): void {
    if (work.delivery.history === "isolated") this.#runAgain(work, over);
    else this.#runNow(work, over);
  }

  // The copy of a suspect, which another instance made: this one may have begun the original before it lost its connection.
  #runAgain(work: InFlightMessage, over: () => void): void {
    const { delivery, heldMs } = work;
    const earlier = this.#recent.claim(delivery);
    if (earlier === undefined) this.#runNow(work, over);
    else if (delivery.lane !== "calls" || !earlier.isOver) this.#follow(delivery, earlier).then(over, over);
    else if (earlier.runs < MOST_RUNS) this.#runNow(new InFlightMessage(delivery, heldMs, earlier), over);
    else {
      this.#giveUp(delivery);
      over();
    }
  }

  #runNow(work: InFlightMessage, over: () => void): void {
    const { delivery } = work;
    const ended = (outcome: Outcome | typeof abandoned): void => this.#ended(work, outcome, over);
    try {
      this.#outcome(work, ended);
    } catch (error) {
      // Nothing above throws but this; if it ever did, the message must not be lost for it.
      if (error === abandoned) ended(abandoned);
      else ended(this.#handling.outcomeOf(delivery, [{ error, retry: "final" }], 0));
    }
    if (!work.isOver && delivery.lane !== "instance") this.#recent.begin(work);
  }

  #outcome(work: InFlightMessage, ended: (outcome: Outcome | typeof abandoned) => void): void {
    const { delivery } = work;
    if (delivery.lane !== "calls") {
      work.subscriptions = this.#handling.handle(delivery, ended);
      return;
    }
    const unanswerable = whyUnanswerable(delivery);
    if (unanswerable === undefined) {
      this.#answering.answer(delivery, passedMs(work), (end) => ended(end === abandoned ? abandoned : done));
      return;
    }
    ended(this.#handling.outcomeOf(delivery, [{ error: malformed(unanswerable), retry: "final" }], 0));
  }

  #ended(work: InFlightMessage, outcome: Outcome | typeof abandoned, over: () => void): void {
    if (work.isOver) return;
    const { delivery } = work;
    if (outcome === abandoned) {
      this.#end(work, undefined);
      void this.#giveBack(delivery).then(over);
      return;
    }
    const settled = (stands: boolean): void => {
      this.#end(work, { outcome, stands });
      over();
    };
    const stands = delivery.settle(outcome);
    if (isPromise(stands)) void stands.then(settled);
    else settled(stands);
  }

  #end(work: InFlightMessage, ended: Completion | undefined): void {
    if (work.delivery.lane === "instance") work.end(ended);
    else this.#recent.end(work, ended);
  }

  /** Gives back, for another instance, what came from outside and waits for a place. Resolves when nothing is in hand. */
  drained(): Promise<void> {
    for (const delivery of this.#places.takeHeld("from outside"))
      void this.#giveBack(delivery).then(() => this.#handed());
    return this.idle();
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
  async #back(delivery: Delivery): Promise<void> {
    const earlier = this.#recent.claim(delivery);
    // The answer of a call that has ended may be lost with its acknowledgement.
    if (earlier !== undefined && (delivery.lane !== "calls" || !earlier.isOver))
      await this.#follow(delivery, earlier);
    else if (delivery.lane !== "calls") await delivery.settle(this.#handling.afterLoss(delivery));
    else await this.#backCall(delivery, earlier);
  }

  // Ends a delivery as the work on its message ends, or has ended.
  async #follow(delivery: Delivery, work: InFlightMessage): Promise<void> {
    const share = await work.share(delivery);
    const stands = await delivery.settle(share?.outcome ?? release);
    if (stands) share?.stood();
  }

  async #backCall(delivery: Delivery, earlier: InFlightMessage | undefined): Promise<void> {
    const { envelope, history: record } = delivery;
    const isHarmless = whyUnanswerable(delivery) !== undefined || !this.#handlers.hasRoute(envelope);
    if (isHarmless) return new Promise((resolve) => this.#run(new InFlightMessage(delivery, 0), resolve));
    const { path } = envelope;
    if (record === "redelivered" && (earlier === undefined || earlier.runs < MOST_RUNS)) {
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
    this.#answering.refuse(delivery, new ConfluoError("INSTANCE_LOST", message));
    void delivery.settle(done);
  }
}

// How long a call was under way before it begins here, as far as this instance knows.
function passedMs({ delivery, heldMs, until }: InFlightMessage): number {
  const { history: record, receivedAt, envelope } = delivery;
  if (record === "first") return heldMs;
  const now = performance.now();
  return envelope.expiresMs === undefined ? now - receivedAt : envelope.expiresMs - (until - now);
}
