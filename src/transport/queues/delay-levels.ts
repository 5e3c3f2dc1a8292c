/** Declares the delay levels when they are first needed, and finds those from which no message returns. */

import { idleDelay } from "../../async/abort.ts";
import { isConfluoError } from "../../errors.ts";
import {
  delayRoute,
  highestLevel,
  levelExchanges,
  levelMs,
  levelName,
  levelQueues,
  levelsOf,
  returnedQueue,
} from "../../protocol/delays.ts";
import { LEVELS, type Namespace } from "../../protocol/topology.ts";
import type { AmqpClient } from "../amqp-client.ts";
import { declareExchanges, declareQueues } from "./declare.ts";

/**
 * How often the levels in use are declared again, in milliseconds. If somebody deletes the queue of a level, messages from the
 * levels above wait until it exists again.
 */
const AGAIN_MS = 60_000;
/** The most inboxes to remember. */
const MOST_INBOXES = 1_000;

/** The delay levels that exist, and the inboxes behind them, as far as this connection knows. */
export class DelayLevels {
  readonly #namespace: Namespace;
  #client: AmqpClient | undefined;
  /** The levels whose queues were declared, one bit each. */
  #queues = 0;
  /** The highest level whose exchange was declared. */
  #top = -1;
  /** The levels that were used since they were last declared. */
  #used = 0;
  #declaredAt = 0;
  /** The inboxes that exist or are being looked for. */
  readonly #inboxes = new Map<string, Promise<boolean>>();
  #last: Promise<void> = Promise.resolve();

  constructor(namespace: Namespace) {
    this.#namespace = namespace;
  }

  /**
   * Declares what a pass needs that is not declared yet. A message must not be published before, because its wait would end in a
   * level that does not exist.
   *
   * @returns `undefined` if there is nothing to declare. Rejects if the broker refuses.
   */
  declare(client: AmqpClient, quarters: number): Promise<void> | undefined {
    this.#begin(client);
    if (!this.#has(quarters)) return this.#next(client, quarters);
    this.#used |= quarters;
    if (performance.now() - this.#declaredAt > AGAIN_MS) this.#again(client);
    return undefined;
  }

  /**
   * Returns whether an inbox exists, to which delayed messages are to return. One that exists is looked for once on each
   * connection. An inbox that this user may not look at counts as existing.
   */
  isThere(client: AmqpClient, inbox: string): Promise<boolean> {
    this.#begin(client);
    const known = this.#inboxes.get(inbox);
    if (known !== undefined) return known;
    const looking = lookFor(client, inbox);
    if (this.#inboxes.size < MOST_INBOXES) this.#inboxes.set(inbox, looking);
    const forget = (): void => {
      if (this.#inboxes.get(inbox) === looking) this.#inboxes.delete(inbox);
    };
    looking.then((isThere) => {
      if (!isThere) forget();
    }, forget);
    return looking;
  }

  #begin(client: AmqpClient): void {
    if (this.#client === client) return;
    this.forget();
    this.#client = client;
  }

  /** Forgets what was declared and found, because some of it may be gone. */
  forget(): void {
    this.#inboxes.clear();
    this.#queues = 0;
    this.#top = -1;
    this.#used = 0;
  }

  #has(quarters: number): boolean {
    return (quarters & ~this.#queues) === 0 && highestLevel(quarters) <= this.#top;
  }

  // One after the other, because most of what two passes need is the same.
  #next(client: AmqpClient, quarters: number): Promise<void> {
    const next = this.#last.then(async () => {
      if (this.#client === client && this.#has(quarters)) return;
      await this.#declareAll(client, quarters);
    });
    this.#last = next.catch(() => undefined);
    return next;
  }

  async #declareAll(client: AmqpClient, quarters: number): Promise<void> {
    // From the lowest on, and the exchanges before the queues, so that every level leads on as soon as it exists.
    await declareExchanges(client, levelExchanges(this.#namespace, quarters));
    await declareQueues(client, levelQueues(this.#namespace, quarters));
    if (this.#client !== client) return;
    if (this.#queues === 0) this.#declaredAt = performance.now();
    this.#queues |= quarters;
    this.#used |= quarters;
    this.#top = Math.max(this.#top, highestLevel(quarters));
  }

  // Runs in the background. After a failure, the next message finds out.
  #again(client: AmqpClient): void {
    const used = this.#used;
    this.#used = 0;
    this.#declaredAt = performance.now();
    this.#last = this.#last
      .then(() => this.#declareAll(client, used))
      .catch(() => {
        if (this.#client === client) this.forget();
      });
  }
}

async function lookFor(client: AmqpClient, inbox: string): Promise<boolean> {
  try {
    return (await client.inspectQueue(inbox)) !== undefined;
  } catch (error) {
    if (isConfluoError(error, "ACCESS_REFUSED") || isConfluoError(error, "UNAVAILABLE")) return true;
    throw error;
  }
}

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

/** The connection of a session, as its delay levels see it. */
interface LevelsConnection {
  readonly client: AmqpClient | undefined;
  readonly namespace: Namespace;
  readonly levels: DelayLevels;
  warn(details: object, message: string): void;
}

/**
 * The delay levels that a session uses, each checked for messages that do not return. RabbitMQ dead-letters at most 32 messages
 * of a queue at a time. If the queue that they return to accepts none, the messages of all other services wait behind them. The
 * number of messages does not show that, because messages whose wait is over are not counted any more.
 */
export class SessionLevels {
  readonly #connection: LevelsConnection;
  readonly #levels = new Map<number, WatchedLevel>();
  #stop = new AbortController();
  #isClosed = false;

  constructor(connection: LevelsConnection) {
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

  /**
   * Declares what a pass needs, as {@link DelayLevels.declare} does, and from then on checks the levels in which the message
   * stays.
   */
  use(client: AmqpClient, quarters: number): Promise<void> | undefined {
    const declaring = this.#connection.levels.declare(client, quarters);
    // Not checked before, because the check publishes to the levels.
    if (declaring !== undefined) return declaring.then(() => this.#check(quarters));
    this.#check(quarters);
    return undefined;
  }

  #check(quarters: number): void {
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
