/**
 * Delays as binary digits. A message waits a whole number of quarters of a second at the broker. Each digit of that number
 * stands for one level, a queue in which the message stays if the digit is 1. `docs/protocol.md` specifies it.
 */

/** The number of levels, which are the digits. */
export const LEVELS = 26;
/** How long a message stays in level 0, in milliseconds; in each further level, twice as long as in the one below. */
export const SHORTEST_DELAY_MS = 250;
/** The most quarters of a second in one pass through the levels. */
const MOST_QUARTERS = 2 ** LEVELS - 1;
/** The longest wait in one pass through the levels, in milliseconds: 194 days. */
export const LONGEST_PASS_MS: number = MOST_QUARTERS * SHORTEST_DELAY_MS;

/** The binding key of a queue to the exchange through which messages return: any digits, then the queue's name. */
export const anyDigits: string = "*.".repeat(LEVELS);

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

/** Returns the routing key of a message that waits, and then returns to a queue. */
export function delayKey(quarters: number, queue: string): string {
  return `${quarters.toString(2).padStart(LEVELS, "0").split("").join(".")}.${queue}`;
}

/** The words of a binding key before the digit of a level. */
export function digitsAbove(level: number): string {
  return "*.".repeat(LEVELS - 1 - level);
}

const DIGITS = new RegExp(`^(?:[01]\\.){${LEVELS}}`);

/** Returns the queue that a routing key names: of a message that waited, the key without its digits. */
export function returnQueueOf(key: string): string {
  return key.replace(DIGITS, "");
}
