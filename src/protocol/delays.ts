/**
 * The delay levels. A message waits a whole number of quarters of a second at the broker. Each binary digit of that number
 * stands for one level, a queue in which the message stays if the digit is 1. `docs/protocol.md` specifies it.
 */

import {
  anyDigits,
  classic,
  type DeclaredExchange,
  type DeclaredQueue,
  LEVELS,
  type Namespace,
  quorumDeadLettering,
} from "./topology.ts";

/** How long a message stays in level 0, in milliseconds; in each further level, twice as long as in the one below. */
export const SHORTEST_DELAY_MS = 250;
/** The most quarters of a second in one pass through the levels. */
const MOST_QUARTERS = 2 ** LEVELS - 1;
/** The longest wait in one pass through the levels, in milliseconds: 194 days. */
export const LONGEST_PASS_MS: number = MOST_QUARTERS * SHORTEST_DELAY_MS;

/** One pass through the levels, and the rest of the wait after it. */
export interface Pass {
  /** The length of the pass, in quarters of a second. */
  readonly quarters: number;
  /** How long the message has to wait after the pass, in milliseconds. */
  readonly restMs: number;
}

/** Returns the first pass of a wait. It is never shorter than the wait, and at least 250 ms. */
export function passOf(waitMs: number): Pass {
  const quarters = Math.min(Math.max(1, Math.ceil(waitMs / SHORTEST_DELAY_MS)), MOST_QUARTERS);
  return { quarters, restMs: Math.max(0, Math.ceil(waitMs - quarters * SHORTEST_DELAY_MS)) };
}

/** Returns how long a message stays in a level, in milliseconds. */
export function levelMs(level: number): number {
  return SHORTEST_DELAY_MS * 2 ** level;
}

/** Returns the highest level of a pass, which a message enters first. */
export function highestLevel(quarters: number): number {
  return 31 - Math.clz32(quarters);
}

/** Returns the levels in which a message stays, the lowest first. */
export function levelsOf(quarters: number): readonly number[] {
  const levels: number[] = [];
  for (let level = 0; quarters >> level > 0; level += 1) if ((quarters >> level) & 1) levels.push(level);
  return levels;
}

/** Returns the exchange and the routing key with which a message begins a pass, after which it returns to a queue. */
export function delayRoute(
  namespace: Namespace,
  quarters: number,
  queue: string,
): { readonly exchange: string; readonly key: string } {
  const digits = quarters.toString(2).padStart(LEVELS, "0").split("").join(".");
  return { exchange: levelName(namespace, highestLevel(quarters)), key: `${digits}.${queue}` };
}

const DIGITS = new RegExp(`^(?:[01]\\.){${LEVELS}}`);

/** Returns the queue that a routing key names: of a message that waited, the key without its digits. */
export function returnQueueOf(key: string): string {
  return key.replace(DIGITS, "");
}

/**
 * Returns whether messages that come through an exchange were published to a queue by name: through the default exchange, or
 * back from a wait or a death. All other exchanges carry events.
 */
export function isReturn(namespace: Namespace, exchange: string): boolean {
  const isNamed = exchange === "" || exchange === namespace.due || exchange === namespace.back;
  return isNamed || isNumbered(exchange, `${namespace.name}.wait.`);
}

/**
 * Returns whether messages wait in a queue, or in the queue of an exchange, on purpose. The queues of services named `wait` or
 * `delay` begin in the same way.
 */
export function isDelay({ name: namespace }: Namespace, name: string): boolean {
  return isNumbered(name, `${namespace}.wait.`) || isNumbered(name, `${namespace}.delay.`);
}

function isNumbered(name: string, prefix: string): boolean {
  return name.startsWith(prefix) && /^\d+$/.test(name.slice(prefix.length));
}

/** Returns the name of a level, which its exchange and its queue share. */
export function levelName({ name }: Namespace, level: number): string {
  return `${name}.wait.${level}`;
}

/** Returns the names of all levels, the lowest first. Those that were never needed do not exist. */
export function allLevels(namespace: Namespace): readonly { readonly name: string; readonly ms: number }[] {
  return Array.from({ length: LEVELS }, (_, level) => ({
    name: levelName(namespace, level),
    ms: levelMs(level),
  }));
}

/** Returns the exchanges of the levels up to that of the highest digit, the lowest first. Each passes to the one below. */
export function levelExchanges(namespace: Namespace, quarters: number): readonly DeclaredExchange[] {
  return Array.from({ length: highestLevel(quarters) + 1 }, (_, level) => ({
    name: levelName(namespace, level),
    type: "topic",
    passesTo: { exchange: exchangeBelow(namespace, level), key: keyOfLevel(level, 0) },
  }));
}

/** Returns the queues of the levels in which a message stays, the lowest first. */
export function levelQueues(namespace: Namespace, quarters: number): readonly DeclaredQueue[] {
  return levelsOf(quarters).map((level) => {
    const name = levelName(namespace, level);
    return {
      name,
      arguments: {
        ...quorumDeadLettering,
        "x-dead-letter-exchange": exchangeBelow(namespace, level),
        "x-message-ttl": levelMs(level),
      },
      bindings: [{ exchange: name, key: keyOfLevel(level, 1) }],
    };
  });
}

// Returns the exchange to which a level passes, and to which its queue dead-letters.
function exchangeBelow(namespace: Namespace, level: number): string {
  return level === 0 ? namespace.due : levelName(namespace, level - 1);
}

// Returns the binding key for the messages whose digit of a level is 0 or 1.
function keyOfLevel(level: number, digit: 0 | 1): string {
  return `${"*.".repeat(LEVELS - 1 - level)}${digit}.#`;
}

const RETURNED_ARGUMENTS = {
  ...classic,
  "x-expires": 3_600_000,
  "x-message-ttl": 30_000,
  "x-max-length": 1,
} as const;

/**
 * Returns the queue that shows if messages return from a level. It contains the newest message that returned, for 30 s. A client
 * that checks a level declares the queue and sends a message through the level. The queue is deleted after an hour without use.
 */
export function returnedQueue({ name: namespace, due }: Namespace, level: number): DeclaredQueue {
  const name = `${namespace}.returned.${level}`;
  return { name, arguments: RETURNED_ARGUMENTS, bindings: [{ exchange: due, key: `${anyDigits}${name}` }] };
}
