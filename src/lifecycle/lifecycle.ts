/** The life of a service at a broker: connecting, running, reconnecting, and being shut down. */

import { delay, onAbort, untilAborted, waitAtMost } from "../async/abort.ts";
import { Gate } from "../async/gate.ts";
import { settledWithin, type WaitLimits, waitFor } from "../async/timed-promise.ts";
import { ConfluoError, describeThrown, isConfluoError } from "../errors.ts";
import type { Dispatcher } from "../handling/dispatcher.ts";
import type { Logger } from "../logging/logger.ts";
import type { Registry } from "../registry/registry.ts";
import type { Per } from "../registry/subscriptions.ts";
import type { Caller } from "../sending/caller.ts";
import type { Publisher } from "../sending/publisher.ts";
import type { SessionSlot } from "../transport/session-slot.ts";
import type { Session, SessionListener, Transport } from "../transport/transport.ts";
import { type Connecting, explained } from "./connecting.ts";
import { bindKeys, Declarations, keysOf } from "./declarations.ts";
import { Neighbour } from "./neighbours.ts";
import { type Health, healthOf, StateMachine, whyDown } from "./state.ts";

/** The parts that a {@link Lifecycle} works with. */
export interface LifecycleDependencies {
  readonly service: string;
  readonly instance: string;
  readonly prefetch: SessionListener["prefetch"];
  readonly batching: () => SessionListener["batching"];
  readonly registry: Registry;
  readonly logger: Logger;
  readonly sessions: SessionSlot;
  readonly dispatcher: Dispatcher;
  readonly caller: Caller;
  readonly publisher: Publisher;
  readonly onQuestion: SessionListener["onQuestion"];
}

/** How long to wait before the queues are declared again on a new connection, in milliseconds. */
const REATTACH_MS = 100;
/** How long to wait for deliveries to be given back, in milliseconds. */
const GIVE_BACK_MS = 500;

interface Stopping {
  readonly done: Promise<void>;
  /** Ends the wait for running handlers. */
  readonly hurry: AbortController;
}

/** The states of a service and the transitions between them. */
export class Lifecycle {
  readonly #parts: LifecycleDependencies;
  readonly #sessions: SessionSlot;
  readonly states: StateMachine;
  #transport: Transport | undefined;
  /** Exists as long as there is a session. */
  #neighbour: Neighbour | undefined;
  #connecting: Connecting | undefined;
  #stopping: Stopping | undefined;
  // Exists while a connect() waits for a shutdown to end. The next shutdown() ends that connect(), too.
  #queued: AbortController | undefined;
  readonly #declarations: Declarations;
  /** True once a route or subscription was registered. Only the lifecycle writes this field. */
  serves = false;
  readonly #stopped: (() => void)[] = [];

  constructor(parts: LifecycleDependencies) {
    this.#parts = parts;
    this.#sessions = parts.sessions;
    this.states = new StateMachine((error) =>
      parts.logger.error({ err: error }, "A listener to the service's state failed."),
    );
    this.#declarations = new Declarations({
      connecting: () => this.#connecting?.done,
      session: () => this.#sessions.session,
      failed: (error) => {
        const { service, logger } = parts;
        const message = `${service} could not declare what was registered after connect().`;
        logger.error({ service, err: error }, message);
      },
    });
  }

  /** The present health of the service. */
  get health(): Health {
    const { current: state, reason } = this.states;
    const session = this.#sessions.session;
    const why =
      state === "running"
        ? session?.refused
        : (this.#transport?.lastFailure ?? reason ?? whyDown(this.#parts.service, state));
    return healthOf({ state, session, reason: why });
  }

  /** Connects, or waits for what was registered since the last call. A shutdown that is in progress ends first. */
  async connect(choose: () => Transport, limits: WaitLimits): Promise<void> {
    const deadline = performance.now() + limits.ms;
    if (this.#stopping !== undefined) await this.#afterShutdown(this.#stopping, limits);
    if (this.#connecting?.stop.signal.aborted) await this.#afterGivenUp(this.#connecting, limits);
    const transport = choose();
    if (this.#transport !== undefined && this.#transport !== transport) {
      throw new ConfluoError(
        "INVALID_ARGUMENT",
        `${this.#parts.service} has a broker already (${this.#transport.description}): shut it down before connecting it to another.`,
      );
    }
    this.#connecting ??= this.#start(transport);
    const connecting = this.#connecting;
    const ms = Math.max(1, Math.ceil(deadline - performance.now()));
    const what = `the connection to ${transport.description}`;
    const over = new AbortController();
    const stopListening = onAbort(connecting.stop.signal, () => over.abort(connecting.stop.signal.reason));
    connecting.waiting += 1;
    try {
      await waitFor<void>({ ms, signal: limits.signal, what }, (waiter) => {
        connecting.done.then(() => this.#declared(over.signal)).then(waiter.resolve, waiter.reject);
      });
      connecting.waiting -= 1;
    } catch (error) {
      connecting.waiting -= 1;
      const why = explained(error, transport, limits.ms);
      await this.#giveUp(connecting, why);
      throw why;
    } finally {
      stopListening();
      over.abort();
    }
  }

  async #afterShutdown({ done }: Stopping, limits: WaitLimits): Promise<void> {
    this.#queued ??= new AbortController();
    const { signal } = this.#queued;
    const what = `${this.#parts.service} to shut down before it connects again`;
    await settledWithin({ ...limits, what }, untilAborted(done, signal));
    signal.throwIfAborted();
  }

  // An attempt that was given up has no caller any more, so its error does not concern this one.
  async #afterGivenUp({ done }: Connecting, limits: WaitLimits): Promise<void> {
    const what = `${this.#parts.service} to end an earlier attempt to connect`;
    await settledWithin(
      { ...limits, what },
      done.catch(() => undefined),
    );
  }

  // Ends an attempt that nobody waits for any more, so that it does not go on unnoticed.
  async #giveUp(connecting: Connecting, why: unknown): Promise<void> {
    if (connecting.waiting > 0 || this.#connecting !== connecting || this.states.current !== "connecting")
      return;
    connecting.stop.abort(why);
    await connecting.done.catch(() => undefined);
  }

  #start(transport: Transport): Connecting {
    const stop = new AbortController();
    this.#transport = transport;
    this.#sessions.broken = undefined;
    this.#parts.dispatcher.resume();
    this.states.enter("connecting");
    const done = this.#open(transport, stop).catch((error: unknown) => {
      this.#connecting = undefined;
      this.#transport = undefined;
      this.states.rest(error);
      throw error;
    });
    done.catch(() => undefined);
    return { done, stop, waiting: 0 };
  }

  async #open(transport: Transport, stop: AbortController): Promise<void> {
    const { signal } = stop;
    const session = await transport.openSession(this.#member(stop), signal);
    this.#sessions.session = session;
    const { service, dispatcher, caller, publisher } = this.#parts;
    const { realm } = transport;
    this.#neighbour = new Neighbour({ service, realm, lifecycle: this, dispatcher, caller, publisher });
    try {
      await this.#attached(session, signal);
      this.#sessions.ready = session;
      this.states.enter("running");
    } catch (error) {
      this.#sessions.session = undefined;
      this.#sessions.ready = undefined;
      this.#neighbour.end();
      // Messages that were delivered meanwhile go back to the queue.
      dispatcher.abandon(error);
      // Not awaited: a broker that does not answer must not delay the caller of connect().
      void this.#leave(session);
      throw error;
    }
  }

  // Resolves when everything is declared, bound and consumed. If the connection breaks meanwhile, waits for the next and tries
  // again.
  async #attached(session: Session, signal: AbortSignal): Promise<void> {
    for (;;) {
      const { broken } = this.#sessions;
      if (broken !== undefined)
        await untilAborted(new Promise<void>((resolve) => void broken.onOpen(resolve)), signal);
      try {
        await untilAborted(this.#attach(session), signal);
        if (this.#sessions.broken === undefined) return;
      } catch (error) {
        if (signal.aborted || !isConfluoError(error, "CONNECTION_LOST")) throw error;
        await delay(REATTACH_MS, signal);
      }
    }
  }

  // Declares only what is missing, so it may be called again.
  async #attach(session: Session): Promise<void> {
    // At the same time, because it depends on nothing here. It never rejects.
    const opening = session.openQuestions();
    // Bindings come before consumers: an instance that takes commands must already be subscribed.
    await bindKeys(session, keysOf(this.#parts.registry.subscriptions.list()));
    if (this.serves) await session.serve();
    await opening;
  }

  #member(attempt: AbortController): SessionListener {
    const { service, instance, prefetch, batching, dispatcher, caller, onQuestion } = this.#parts;
    // An earlier session that is still closing must not change the state.
    const isPresent = (): boolean => this.#connecting?.stop === attempt;
    return {
      service,
      instance,
      prefetch,
      batching: batching(),
      onDelivery: dispatcher.handle.bind(dispatcher),
      onExpired: dispatcher.expired.bind(dispatcher),
      onReply: caller.receive.bind(caller),
      onBounced: caller.sendAgain.bind(caller),
      onQuestion,
      onLost: (reason) => {
        if (!isPresent()) return;
        if (this.states.current === "running") this.states.enter("reconnecting", reason);
        this.#sessions.broken ??= new Gate();
        dispatcher.dropWaiting();
        this.#parts.logger.debug({ service, err: reason }, `${service} rejects its calls in flight.`);
        for (const call of caller.inFlight.list()) {
          const what = `The connection broke while ${call.service} was to answer ${call.path}`;
          call.reject(
            new ConfluoError("CONNECTION_LOST", `${what}: it may or may not have run.`, { cause: reason }),
          );
        }
      },
      onRestored: () => {
        if (!isPresent()) return;
        if (this.states.current === "reconnecting") this.states.enter("running");
        const broken = this.#sessions.broken;
        this.#sessions.broken = undefined;
        broken?.open();
      },
    };
  }

  /** Declares and consumes the service's queues, because a route was registered. */
  serve(): void {
    this.serves = true;
    this.#declarations.serve();
  }

  /** Binds a key, because a subscription was registered. */
  subscribe(key: string, per: Per): void {
    this.serves = true;
    this.#declarations.bind(key, per);
  }

  /** Unbinds a key, because a subscription was removed. A binding that the instances share stays. */
  unsubscribe(key: string, per: Per): void {
    if (per === "instance") this.#declarations.unbindInstance(key);
  }

  // Waits for the declarations in the background. Those that failed, or that a broken connection undid, are tried again.
  async #declared(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await untilAborted(this.#declarations.settled(), signal);
    this.#declarations.reset();
    if (this.#sessions.session !== undefined) await this.#attached(this.#sessions.session, signal);
  }

  /** Waits for the connection that is being made, and returns the session to send on. */
  async whenReady(): Promise<Session> {
    try {
      await this.#connecting?.done;
    } catch (cause) {
      if (isConfluoError(cause, "SHUTTING_DOWN")) throw cause;
      const reason = describeThrown(cause).message;
      throw new ConfluoError("NOT_CONNECTED", `${this.#parts.service} could not connect: ${reason}`, {
        cause,
      });
    }
    if (this.#sessions.session !== undefined) return this.#sessions.session;
    throw new ConfluoError(
      "NOT_CONNECTED",
      `${this.#parts.service} is not connected: await its connect() first.`,
    );
  }

  /** Resolves when the service is shut down or was never connected. */
  stopped(): Promise<void> {
    if (this.states.isAtRest) return Promise.resolve();
    return new Promise((resolve) => this.#stopped.push(resolve));
  }

  /** Stops taking work, waits for what runs, answers it, and disconnects. It may be called again: the shortest wait counts. */
  async shutdown(limits: WaitLimits): Promise<void> {
    const { service } = this.#parts;
    this.#queued?.abort(new ConfluoError("SHUTTING_DOWN", `${service} was shut down before it connected.`));
    this.#queued = undefined;
    if (this.states.isAtRest) return this.states.enter("stopped");
    this.#stopping ??= this.#startStopping();
    const { done, hurry } = this.#stopping;
    const wait = settledWithin({ ...limits, what: "what still runs" }, done);
    await wait.catch((error: unknown) => hurry.abort(error));
    await done;
  }

  #startStopping(): Stopping {
    const hurry = new AbortController();
    const done = this.#stop(hurry.signal).finally(() => {
      this.#stopping = undefined;
      this.states.enter("stopped");
      for (const resolve of this.#stopped.splice(0)) resolve();
    });
    return { done, hurry };
  }

  async #stop(hurry: AbortSignal): Promise<void> {
    const { service, logger, dispatcher, caller, publisher } = this.#parts;
    const reason = new ConfluoError("SHUTTING_DOWN", `${service} was shut down.`);
    const connecting = this.#connecting;
    connecting?.stop.abort(reason);
    if (this.states.current === "connecting") await connecting?.done.catch(() => undefined);
    const session = this.#sessions.session;
    if (session === undefined) return;
    this.states.enter("draining");
    await untilAborted(this.#neighbour?.leave(session) ?? Promise.resolve(), hurry).catch(
      (error: unknown) => {
        if (this.#neighbour?.isIdle) return; // it waited only for other services
        const message = `${service} stopped waiting for what still runs; messages in hand go back to the queue.`;
        logger.warn({ service, err: error }, message);
      },
    );
    dispatcher.abandon(reason);
    // Deliveries must be given back before the session closes.
    if (!dispatcher.isIdle) await waitAtMost(GIVE_BACK_MS, dispatcher.idle());
    if (caller.inFlight.size > 0) this.#rejectCalls();
    if (publisher.inFlight.size > 0) this.#rejectMessages();
    this.#sessions.session = undefined;
    this.#sessions.ready = undefined;
    this.#transport = undefined;
    this.#connecting = undefined;
    this.#neighbour?.end();
    await session.close();
  }

  #rejectCalls(): void {
    const { service, caller } = this.#parts;
    for (const call of caller.inFlight.list()) {
      const what = `${call.service} was to answer ${call.path}`;
      call.reject(new ConfluoError("SHUTTING_DOWN", `${service} was shut down while ${what}.`));
    }
  }

  #rejectMessages(): void {
    const { service, publisher } = this.#parts;
    for (const message of publisher.inFlight.list()) {
      const what = `the broker was to confirm ${message.path}: it may or may not have arrived`;
      message.reject(new ConfluoError("SHUTTING_DOWN", `${service} was shut down while ${what}.`));
    }
  }

  async #leave(session: Session): Promise<void> {
    await waitAtMost(GIVE_BACK_MS, session.pause());
    await waitAtMost(GIVE_BACK_MS, this.#parts.dispatcher.idle());
    await session.close().catch(() => undefined);
  }
}
