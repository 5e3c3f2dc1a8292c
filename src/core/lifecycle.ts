/** A service's life at a broker: connecting, running, draining; and what must happen in between. */

import { ConfluoError, isConfluoError } from "../errors.ts";
import type { Delivery, Link, Member, Transport } from "../transport/transport.ts";
import { onAbort } from "./abort.ts";
import { waitFor } from "./deadline.ts";
import type { Dispatch } from "./dispatch.ts";
import type { Logger } from "./logger.ts";
import type { Registry } from "./registry.ts";
import type { Requests } from "./requests.ts";
import type { Per } from "./subscriptions.ts";

/**
 * Where a service stands. `idle`: not connected, and never was or no more. `reconnecting`: the connection broke and a
 * new one is being made. `draining`: a shutdown waits for what runs.
 */
export type ServiceState = "idle" | "connecting" | "running" | "reconnecting" | "draining";

/** What a lifecycle moves. */
export interface LifecycleParts {
  readonly service: string;
  readonly instance: string;
  readonly prefetch: Member["prefetch"];
  readonly registry: Registry;
  readonly logger: Logger;
  readonly dispatch: () => Dispatch;
  readonly requests: () => Requests;
}

async function untilAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  let stop: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = onAbort(signal, () => reject(signal.reason));
  });
  try {
    await Promise.race([work, aborted]);
  } finally {
    stop?.();
    work.catch(() => undefined);
  }
}

/** Bounds of a wait. */
export interface Limits {
  readonly ms: number;
  readonly signal: AbortSignal | undefined;
}

/** The states of a service and the ways between them. */
export class Lifecycle {
  readonly #parts: LifecycleParts;
  #state: ServiceState = "idle";
  #link: Link | undefined;
  #transport: Transport | undefined;
  #connecting: { readonly done: Promise<void>; readonly stop: AbortController } | undefined;
  #stopping: Promise<void> | undefined;
  // Declarations made after connect(), so that the next connect() can wait for them.
  #declaring: Promise<void> = Promise.resolve();
  #serves = false;
  readonly #stopped: (() => void)[] = [];

  constructor(parts: LifecycleParts) {
    this.#parts = parts;
  }

  get state(): ServiceState {
    return this.#state;
  }

  /** Connects, or waits for what was registered since. */
  async connect(transport: Transport, limits: Limits): Promise<void> {
    if (this.#transport !== undefined && this.#transport !== transport) {
      throw new ConfluoError(
        "INVALID_ARGUMENT",
        `${this.#parts.service} is connected to ${this.#transport.description}: shut it down before connecting it elsewhere.`,
      );
    }
    this.#connecting ??= this.#start(transport);
    const { done, stop } = this.#connecting;
    const wait = waitFor<void>(
      { ...limits, what: `the connection to ${transport.description}` },
      (waiter) => {
        done.then(() => this.#declared()).then(waiter.resolve, waiter.reject);
      },
    );
    try {
      await wait;
    } catch (error) {
      // The attempt itself is given up with the wait, so that nothing goes on unseen.
      if (this.#state !== "connecting") throw error;
      const { lastFailure } = transport;
      stop.abort(error);
      await done.catch(() => undefined);
      throw isConfluoError(error, "TIMEOUT") && lastFailure !== undefined
        ? new ConfluoError(lastFailure.code, `${lastFailure.message} Gave up after ${limits.ms} ms.`, {
            cause: lastFailure,
          })
        : error;
    }
  }

  #start(transport: Transport): { readonly done: Promise<void>; readonly stop: AbortController } {
    const stop = new AbortController();
    this.#state = "connecting";
    this.#transport = transport;
    this.#parts.dispatch().resume();
    const done = this.#open(transport, stop.signal).catch((error: unknown) => {
      this.#connecting = undefined;
      this.#transport = undefined;
      this.#state = "idle";
      throw error;
    });
    done.catch(() => undefined);
    return { done, stop };
  }

  async #open(transport: Transport, signal: AbortSignal): Promise<void> {
    const link = await transport.join(this.#member(), signal);
    this.#link = link;
    try {
      // Bound before it takes anything: an instance that is served is subscribed, too.
      await untilAborted(this.#attach(link), signal);
      signal.throwIfAborted();
      this.#state = "running";
    } catch (error) {
      this.#link = undefined;
      // On its own: a broker that does not answer must not hold whoever waits for connect().
      link.close().catch(() => undefined);
      throw error;
    }
  }

  // Does what is not done yet: again is fine.
  async #attach(link: Link): Promise<void> {
    for (const { key, per } of this.#parts.registry.subscriptions.list()) await link.bind(key, per);
    if (this.#serves) await link.serve();
  }

  #member(): Member {
    const { service, instance, prefetch, dispatch, requests, logger } = this.#parts;
    return {
      service,
      instance,
      prefetch,
      onDelivery: (delivery: Delivery) => dispatch().handle(delivery),
      onReply: (reply) => requests().receive(reply),
      onLost: (reason) => {
        if (this.#state === "running") this.#state = "reconnecting";
        logger.debug({ service, error: reason }, `${service} rejects its calls in flight.`);
        requests().rejectAll(
          (called, path) =>
            new ConfluoError(
              "CONNECTION_LOST",
              `The connection broke while ${called} was to answer ${path}: it may or may not have run.`,
              { cause: reason },
            ),
        );
      },
      onRestored: () => {
        if (this.#state === "reconnecting") this.#state = "running";
      },
    };
  }

  /** A route was registered. */
  serve(): void {
    this.#serves = true;
    this.#declare((link) => link.serve());
  }

  /** A subscription was registered. */
  subscribe(key: string, per: Per): void {
    this.#serves = true;
    this.#declare(async (link) => {
      await link.bind(key, per);
      await link.serve();
    });
  }

  /** A subscription was unregistered. What the service shares stays bound. */
  unsubscribe(key: string, per: Per): void {
    if (per === "instance") this.#declare((link) => link.unbindInstance(key));
  }

  // Before connect() nothing is to be done; after it, at once, and the next connect() waits for it.
  #declare(work: (link: Link) => Promise<void>): void {
    const connecting = this.#connecting;
    if (connecting === undefined) return;
    const next = Promise.all([this.#declaring.catch(() => undefined), connecting.done]).then(async () => {
      if (this.#link !== undefined) await work(this.#link);
    });
    this.#declaring = next;
    next.catch((error: unknown) => {
      const { service, logger } = this.#parts;
      logger.error({ service, error }, `${service} could not declare what was registered after connect().`);
    });
  }

  // A declaration that failed is tried again by the next connect(), which says how that went.
  async #declared(): Promise<void> {
    await this.#declaring.catch(() => undefined);
    this.#declaring = Promise.resolve();
    if (this.#link !== undefined && this.#state === "running") await this.#attach(this.#link);
  }

  /** The link to send on: waits while connecting. */
  async link(): Promise<Link> {
    if (this.#link !== undefined && this.#state !== "connecting") return this.#link;
    await this.#connecting?.done;
    if (this.#link !== undefined) return this.#link;
    throw new ConfluoError(
      "NOT_CONNECTED",
      `${this.#parts.service} is not connected: await its connect() first.`,
    );
  }

  /** The link to answer on: there from the first delivery on, before the service counts as running. */
  get answering(): Link | undefined {
    return this.#link;
  }

  /** Settles when a shutdown that is under way is over. */
  get stopping(): Promise<void> | undefined {
    return this.#stopping;
  }

  /** Resolves when the service is idle again. */
  stopped(): Promise<void> {
    if (this.#state === "idle") return Promise.resolve();
    return new Promise((resolve) => this.#stopped.push(resolve));
  }

  /** Stops taking work, waits for what runs, answers it, leaves. Again is fine. */
  shutdown(limits: Limits): Promise<void> {
    if (this.#state === "idle") return Promise.resolve();
    this.#stopping ??= this.#stop(limits).finally(() => {
      this.#stopping = undefined;
      this.#state = "idle";
      for (const resolve of this.#stopped.splice(0)) resolve();
    });
    return this.#stopping;
  }

  async #stop(limits: Limits): Promise<void> {
    const { service, logger } = this.#parts;
    const reason = new ConfluoError("SHUTTING_DOWN", `${service} was shut down.`);
    if (this.#state === "connecting") {
      this.#connecting?.stop.abort(reason);
      await this.#connecting?.done.catch(() => undefined);
    }
    const link = this.#link;
    if (link === undefined) return;
    this.#state = "draining";
    await this.#drain(link, limits).catch((error: unknown) => {
      logger.warn(
        { service, error },
        `${service} stopped waiting for what still runs; it goes back to the queue.`,
      );
    });
    this.#parts.dispatch().abandon(reason);
    this.#parts
      .requests()
      .rejectAll(
        (called, path) =>
          new ConfluoError(
            "SHUTTING_DOWN",
            `${service} was shut down while ${called} was to answer ${path}.`,
          ),
      );
    this.#link = undefined;
    this.#transport = undefined;
    this.#connecting = undefined;
    await link.close();
  }

  #drain(link: Link, limits: Limits): Promise<void> {
    const work = async (): Promise<void> => {
      await link.pause();
      await this.#parts.dispatch().idle();
      await this.#parts.requests().idle();
    };
    return waitFor<void>({ ...limits, what: "what still runs" }, (waiter) => {
      work().then(waiter.resolve, waiter.reject);
    });
  }
}
