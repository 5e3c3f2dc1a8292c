/**
 * Finds delay queues from which nothing comes back. RabbitMQ hands on at most 32 messages of a queue at a time: when the queue
 * that they return to takes none of them, those of every other service wait behind. A count of the messages does not show it,
 * since what has waited long enough is not counted any more.
 */

import { idleDelay } from "../../async/abort.ts";
import { isConfluoError } from "../../errors.ts";
import type { DelayLevel } from "../../protocol/topology.ts";
import type { SessionConnection } from "../session/connection-slot.ts";

/** When a level is looked at first, after a message begins to wait in it: that message goes out before. */
const FIRST_MS = 1_000;
/** How often a level that is used is looked at, with one small message each time. */
const EVERY_MS = 15_000;
/** How much later than its level a message may come back. Shorter than it then stays where it is looked for. */
const GRACE_MS = 5_000;
/** For how long a level is looked at after it was used last. */
const USED_MS = 300_000;
/** A standstill of longer levels is found by the shorter ones, if at all in time. */
const LONGEST_LEVEL_MS = 64_000;

interface WatchedLevel {
  usedAt: number;
  isStalled: boolean;
  /** Begins the looks. */
  readonly first: NodeJS.Timeout;
}

/** Watches the levels that an instance makes messages wait in. */
export class ReturnWatch {
  readonly #connection: SessionConnection;
  readonly #levels = new Map<DelayLevel, WatchedLevel>();
  #stop = new AbortController();
  #isClosed = false;

  constructor(connection: SessionConnection) {
    this.#connection = connection;
  }

  /** Names of the delay queues from which nothing comes back. */
  get stalled(): readonly string[] {
    if (this.#levels.size === 0) return none;
    const { namespace } = this.#connection;
    return [...this.#levels].filter(([, { isStalled }]) => isStalled).map(([ms]) => namespace.delays[ms]);
  }

  /** Notes that a message waits in a level. */
  used(levelMs: DelayLevel): void {
    if (this.#isClosed) return;
    const known = this.#levels.get(levelMs);
    if (known !== undefined) known.usedAt = performance.now();
    else if (levelMs <= LONGEST_LEVEL_MS) {
      const stop = this.#stop.signal;
      const first = setTimeout(() => void this.#watch(levelMs, level, stop), FIRST_MS).unref();
      const level: WatchedLevel = { usedAt: performance.now(), isStalled: false, first };
      this.#levels.set(levelMs, level);
    }
  }

  /** Ends all looks for good. */
  close(): void {
    this.#isClosed = true;
    this.end();
  }

  /** Ends all looks: the connection is gone. */
  end(): void {
    for (const { first } of this.#levels.values()) clearTimeout(first);
    this.#stop.abort();
    this.#stop = new AbortController();
    this.#levels.clear();
  }

  async #watch(levelMs: DelayLevel, level: WatchedLevel, stop: AbortSignal): Promise<void> {
    try {
      while (level.isStalled || performance.now() - level.usedAt < USED_MS) {
        const returns = await this.#returns(levelMs, stop);
        stop.throwIfAborted();
        if (returns === level.isStalled) this.#tell(levelMs, level);
        if (returns !== undefined) level.isStalled = !returns;
        await idleDelay(EVERY_MS, stop);
      }
      this.#levels.delete(levelMs);
    } catch {
      // Ended, or refused: a refusal would be the answer to each further look, so the level stays and is not looked at.
    }
  }

  #tell(levelMs: DelayLevel, { isStalled }: WatchedLevel): void {
    const queue = this.#connection.namespace.delays[levelMs];
    const message = isStalled
      ? `What waits in ${queue} comes back again.`
      : `What waits in ${queue} does not come back: a queue of some service takes nothing. confluo doctor --management says which.`;
    this.#connection.warn({ queue }, message);
  }

  // Sends a message through the level and looks whether it, or one of another instance, has come back. Nobody consumes it: a
  // queue of this instance alone would be gone when it comes back later, and the message would be an orphan. Returns nothing
  // if nothing was learnt.
  async #returns(levelMs: DelayLevel, stop: AbortSignal): Promise<boolean | undefined> {
    try {
      const { namespace, client: on } = this.#connection;
      if (on === undefined) return undefined;
      const plan = namespace.returned(levelMs);
      await on.declareQueue(plan);
      for (const { exchange, key } of plan.bindings ?? []) await on.bind(plan.name, exchange, key);
      await new Promise<void>((resolve, reject) => {
        const properties = { deliveryMode: 2, mandatory: true, messageId: plan.name } as const;
        const message = { body: new Uint8Array(0), properties };
        on.publish({ exchange: namespace.delays[levelMs], key: plan.name }, message, (failure) => {
          if (failure === undefined) resolve();
          else reject(new Error(failure));
        });
      });
      await idleDelay(levelMs + GRACE_MS, stop);
      return ((await on.inspectQueue(plan.name))?.messages ?? 0) > 0;
    } catch (error) {
      if (stop.aborted || isConfluoError(error, "ACCESS_REFUSED")) throw error;
      return undefined;
    }
  }
}

const none: readonly string[] = [];
