/** Where a service stands, who is told of it, and how well it is. */

import { runInNewContext } from "../async/outside-context.ts";
import { ConfluoError, isConfluoError } from "../errors.ts";

/**
 * Where a service stands. `idle`: not connected yet. `reconnecting`: the connection broke and a new one is being made.
 * `draining`: a shutdown waits for what runs. `stopped`: shut down; `connect` works again.
 */
export type ServiceState = "idle" | "connecting" | "running" | "reconnecting" | "draining" | "stopped";

/** One step from one state to the next. */
export interface StateChange {
  readonly from: ServiceState;
  readonly to: ServiceState;
  /** Why, where something went wrong: the connection that broke, the connect that failed. */
  readonly reason: ConfluoError | undefined;
}

/** How well a service is. */
export interface Health {
  /**
   * `healthy`: running, with every declared consumer attached. `degraded`: running, though a consumer is being attached,
   * the broker takes no messages, a right to publish is missing, or what waits to be tried again does not come back. `down`: not
   * connected, or on its way out.
   */
  readonly status: "healthy" | "degraded" | "down";
  readonly state: ServiceState;
  /** Queues that this service should consume from and does not at the moment. */
  readonly detached: readonly string[];
  /** Why the broker takes no messages (a memory or disk alarm), in its own words. */
  readonly blocked: string | undefined;
  /**
   * Delay queues from which nothing comes back, since a queue of some service takes nothing: retries that wait there stand
   * still. Absent if there are none, or if this instance makes nothing wait.
   */
  readonly stalled?: readonly string[];
  /** Why it is down, as the broker said it last if something went wrong; else which right to publish is missing. */
  readonly reason: ConfluoError | undefined;
}

/** The present state, and the way there. */
export class StateMachine {
  readonly #listeners = new Set<(change: StateChange) => void>();
  readonly #failed: (error: unknown) => void;
  // Only `enter` writes these.
  current: ServiceState = "idle";
  /** Why it is there, where something went wrong. */
  reason: ConfluoError | undefined;
  /** Tells whether there is nothing to shut down. */
  isAtRest = true;
  /** How often the connection was lost. */
  losses = 0;
  #hasStopped = false;

  /** `failed` is told what a listener threw. */
  constructor(failed: (error: unknown) => void) {
    this.#failed = failed;
  }

  /** Calls back with each change. @returns a function that ends this. */
  listen(listener: (change: StateChange) => void): () => void {
    // Its own, so that one function may listen twice.
    const own = (change: StateChange): unknown => listener(change);
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }

  enter(to: ServiceState, reason?: unknown): void {
    const from = this.current;
    if (from === to) return;
    this.current = to;
    this.isAtRest = to === "idle" || to === "stopped";
    if (to === "reconnecting") this.losses += 1;
    this.#hasStopped ||= to === "stopped";
    this.reason = reason !== undefined && isConfluoError(reason) ? reason : undefined;
    const change: StateChange = { from, to, reason: this.reason };
    for (const listener of [...this.#listeners]) this.#tell(listener, change);
  }

  /** Back to where it was before it tried to connect. */
  rest(reason: unknown): void {
    this.enter(this.#hasStopped ? "stopped" : "idle", reason);
  }

  #tell(listener: (change: StateChange) => unknown, change: StateChange): void {
    try {
      const told = runInNewContext(listener, change);
      if (told instanceof Promise) told.catch(this.#failed);
    } catch (error) {
      this.#failed(error);
    }
  }
}

const why = {
  idle: ["NOT_CONNECTED", "is not connected: connect() or run() was not called"],
  connecting: ["NOT_CONNECTED", "is connecting for the first time"],
  reconnecting: ["NOT_CONNECTED", "has lost its connection and makes a new one"],
  draining: ["SHUTTING_DOWN", "is being shut down"],
  stopped: ["NOT_CONNECTED", "was shut down: connect() works again"],
} as const;

/** Why a service is down for which nothing went wrong. */
export function whyDown(service: string, state: Exclude<ServiceState, "running">): ConfluoError {
  const [code, reason] = why[state];
  return new ConfluoError(code, `${service} ${reason}.`);
}

interface Linked {
  readonly session: Partial<Pick<Health, "detached" | "blocked" | "stalled">> | undefined;
}

const none: readonly string[] = [];
const unlinked: NonNullable<Linked["session"]> = {};

/** Sums up how well a service is. */
export function healthOf({ state, session, reason }: Pick<Health, "state" | "reason"> & Linked): Health {
  const { detached = none, blocked, stalled = none } = session ?? unlinked;
  if (state !== "running") return { status: "down", state, detached, blocked, reason };
  const isWell =
    detached.length === 0 && blocked === undefined && stalled.length === 0 && reason === undefined;
  return {
    status: isWell ? "healthy" : "degraded",
    state,
    detached,
    blocked,
    ...(stalled.length === 0 ? {} : { stalled }),
    reason,
  };
}
