/** Items that came together, taken a portion at a time. */

/** Enough for messages worth sending, few enough that whoever they go to need not wait long for the first. */
const PORTION = 32;

/**
 * A receiver that works off all of a long message before anything of what it leads to is written keeps the receiver of that idle
 * meanwhile, and is idle itself afterwards: the two take turns. So the rest of a message has to wait until what its first
 * portion led to has been written.
 */
export class ChunkedDelivery<Item> {
  readonly #take: (item: Item) => void;
  #rest: Item[] = [];
  /** How many items wait. Only this class writes it. */
  waiting = 0;

  constructor(take: (item: Item) => void) {
    this.#take = take;
  }

  /** Takes the first portion at once. */
  add(items: readonly Item[]): void {
    if (items.length > PORTION) {
      if (this.#rest.length === 0) setImmediate(this.#soon);
      this.#rest.push(...items.slice(PORTION));
      this.waiting = this.#rest.length;
    }
    for (let at = 0; at < items.length && at < PORTION; at += 1) this.#take(items[at] as Item);
  }

  /** Takes the rest now. */
  readonly flush = (): void => {
    const rest = this.#rest;
    this.#rest = [];
    this.waiting = 0;
    for (const item of rest) this.#take(item);
  };

  // Not in this turn's `setImmediate`, which is where the connection writes.
  readonly #soon = (): void => {
    setImmediate(this.flush);
  };
}
