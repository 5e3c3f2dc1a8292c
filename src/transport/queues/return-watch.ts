/**
 * Finds delay queues from which no message returns. RabbitMQ dead-letters at most 32 messages of a queue at a time. If the
 * queue that they return to accepts none, the messages of all other services wait behind them. The number of messages does not
 * show that, because messages whose wait is over are not counted any more.
 */

import { idleDelay } from "../../async/abort.ts";
import { isConfluoError } from "../../errors.ts";
import { delayRoute, levelMs, levelName, levelsOf, returnedQueue } from "../../protocol/delays.ts";
import { LEVELS } from "../../protocol/topology.ts";
import type { SessionConnection } from "../session/connection-slot.ts";

/** How long after the first message a level is checked, in milliseconds. The message is published before that. */
const FIRST_MS = 1_000;
/** How often a level in use is checked, with one small message each time, in milliseconds. */
const EVERY_MS = 15_000;
/**
 * How much later than its level a message may return, in milliseconds. It must be less than the time that a message stays in
 * the queue where the check looks for it.
 */
const GRACE_MS = 5_000;
/** How long a level is checked after it was last used, in milliseconds. */
const USED_MS = 300_000;
/**
 * The longest level that is checked, in milliseconds. A standstill of longer ones is found in time only by the shorter ones, if
 * at all.
 */
const LONGEST_LEVEL_MS = 64_000;
/** The levels that are checked, one bit each. */
const WATCHED = Array.from({ length: LEVELS }, (_, level) => level)
  .filter((level) => levelMs(level) <= LONGEST_LEVEL_MS)
  .reduce((bits, level) => bits | (1 << level), 0);

interface WatchedLevel {
  usedAt: number;
  isStalled: boolean;
  /** The timer of the first check. */
  readonly first: NodeJS.Timeout;
}

/** Checks the delay levels that this instance uses. */
export class ReturnWatch {
  readonly #connection: SessionConnection;
  readonly #levels = new Map<number, WatchedLevel>();
  #stop = new AbortController();
  #isClosed = false;

  constructor(connection: SessionConnection) {
    this.#connection = connection;
  }

  /** The names of the delay queues from which no message returns. */
  get stalled(): readonly string[] {
    if (this.#levels.size === 0) return none;
    const { namespace } = this.#connection;
    return [...this.#levels]
      .filter(([, { isStalled }]) => isStalled)
      .map(([level]) => levelName(namespace, level));
  }

  /** Notes that a message begins a pass through the levels. */
  used(quarters: number): void {
    if (this.#isClosed) return;
    for (const level of levelsOf(quarters & WATCHED)) this.#used(level);
  }

  #used(level: number): void {
    const known = this.#levels.get(level);
    if (known !== undefined) {
      known.usedAt = performance.now();
      return;
    }
    const stop = this.#stop.signal;
    const first = setTimeout(() => void this.#watch(level, watched, stop), FIRST_MS).unref();
    const watched: WatchedLevel = { usedAt: performance.now(), isStalled: false, first };
    this.#levels.set(level, watched);
  }

  /** Ends all checks for good. */
  close(): void {
    this.#isClosed = true;
    this.end();
  }

  /** Ends all checks, because the connection is gone. */
  end(): void {
    for (const { first } of this.#levels.values()) clearTimeout(first);
    this.#stop.abort();
    this.#stop = new AbortController();
    this.#levels.clear();
  }

  async #watch(level: number, watched: WatchedLevel, stop: AbortSignal): Promise<void> {
    try {
      while (watched.isStalled || performance.now() - watched.usedAt < USED_MS) {
        const returns = await this.#returns(level, stop);
        stop.throwIfAborted();
        if (returns === watched.isStalled) this.#tell(level, watched);
        if (returns !== undefined) watched.isStalled = !returns;
        await idleDelay(EVERY_MS, stop);
      }
      this.#levels.delete(level);
    } catch {
      // The watch has ended, or the broker refused the check. It would refuse every further one, so the level is not checked
      // any more.
    }
  }

  #tell(level: number, { isStalled }: WatchedLevel): void {
    const queue = levelName(this.#connection.namespace, level);
    const message = isStalled
      ? `Messages return from ${queue} again.`
      : `No message returns from ${queue}: a queue of some service accepts none. confluo doctor --management names it.`;
    this.#connection.warn({ queue }, message);
  }

  // Sends a message through the level, and checks if it, or that of another instance, has returned. Nobody consumes the queue
  // that it returns to. It is shared, because a queue of this instance might be gone when the message returns, which would make
  // it an orphan. Returns `undefined` if the result is not known.
  async #returns(level: number, stop: AbortSignal): Promise<boolean | undefined> {
    try {
      const { namespace, levels, client: on } = this.#connection;
      if (on === undefined) return undefined;
      await levels.declare(on, 1 << level);
      const plan = returnedQueue(namespace, level);
      await on.declareQueue(plan);
      for (const { exchange, key } of plan.bindings ?? []) await on.bind(plan.name, exchange, key);
      await new Promise<void>((resolve, reject) => {
        const properties = { deliveryMode: 2, mandatory: true, messageId: plan.name } as const;
        const message = { body: new Uint8Array(0), properties };
        const route = delayRoute(namespace, 1 << level, plan.name);
        on.publish(route, message, (failure) => {
          if (failure === undefined) {
            resolve();
            return;
          }
          // Somebody may have deleted the level. It is declared again for whoever needs it next.
          levels.forget();
          reject(new Error(failure));
        });
      });
      await idleDelay(levelMs(level) + GRACE_MS, stop);
      return ((await on.inspectQueue(plan.name))?.messages ?? 0) > 0;
    } catch (error) {
      if (stop.aborted || isConfluoError(error, "ACCESS_REFUSED")) throw error;
      return undefined;
    }
  }
}

const none: readonly string[] = [];
