/** The state of a service, its listeners, and its health. */

import { runInNewContext } from "../async/outside-context.ts";
import { ConfluoError, isConfluoError } from "../errors.ts";

/**
 * The state of a service. `idle`: not connected yet. `connecting`: the first connection is being made. `running`: connected.
 * `reconnecting`: the connection broke and a new one is being made. `draining`: a shutdown waits for what runs. `stopped`: shut
 * down; `connect` works again.
 */
export type ServiceState = "idle" | "connecting" | "running" | "reconnecting" | "draining" | "stopped";

/** A change from one state to the next. */
export interface StateChange {
  readonly from: ServiceState;
  readonly to: ServiceState;
  /** The error behind the change, such as the broken connection or the failed connect; `undefined` if nothing went wrong. */
  readonly reason: ConfluoError | undefined;
}

/** The health of a service. */
export interface Health {
  /**
   * `healthy`: the service runs, and every declared queue is consumed. `degraded`: it runs, but a consumer is being attached
   * again, the broker takes no messages, a right to publish is missing, or messages do not return from a delay queue. `down`:
   * not connected, or being shut down.
   */
  readonly status: "healthy" | "degraded" | "down";
  readonly state: ServiceState;
  /** The names of the queues that this service should consume and at the moment does not. */
  readonly detached: readonly string[];
  /** The broker's own reason for taking no messages (a memory or disk alarm). */
  readonly blocked: string | undefined;
  /**
   * The names of delay queues from which nothing returns, because a queue of some service accepts nothing. Retries that wait
   * there are stuck. Absent if there are none, or if this instance has put nothing into a delay queue.
   */
  readonly stalled?: readonly string[];
  /**
   * The error because of which the service is down: the last one from the broker, if there is one. While it runs: the missing
   * right.
   */
  readonly reason: ConfluoError | undefined;
}

/** The current state of a service and the changes between states. */
export class StateMachine {
  readonly #listeners = new Set<(change: StateChange) => void>();
  readonly #failed: (error: unknown) => void;
  // Only `enter` writes these.
  current: ServiceState = "idle";
  /** The error that led to the current state; `undefined` if nothing went wrong. */
  reason: ConfluoError | undefined;
  /** True if there is nothing to shut down. */
  isAtRest = true;
  /** How many times the connection was lost. */
  losses = 0;
  #hasStopped = false;

  /** `failed` is called with the error of a listener. */
  constructor(failed: (error: unknown) => void) {
    this.#failed = failed;
  }

  /**
   * Calls the listener at each change.
   *
   * @returns a function that removes the listener.
   */
  listen(listener: (change: StateChange) => void): () => void {
    // A function of its own for each call, so that one listener may be added twice.
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

  /** Returns to the state from which it tried to connect. */
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

/** Returns the error of a service that is down although nothing went wrong. */
export function whyDown(service: string, state: Exclude<ServiceState, "running">): ConfluoError {
  const [code, reason] = why[state];
  return new ConfluoError(code, `${service} ${reason}.`);
}

interface Linked {
  readonly session: Partial<Pick<Health, "detached" | "blocked" | "stalled">> | undefined;
}

const none: readonly string[] = [];
const unlinked: NonNullable<Linked["session"]> = {};

/** Combines state, session and error into the health of a service. */
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
