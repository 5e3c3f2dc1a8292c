/** Processes the items of one message in portions. */

/**
 * Large enough that the resulting messages are worth sending, small enough that their receivers do not wait long for the first.
 */
const PORTION = 32;

/**
 * Processes the items of a long message in portions. If all were processed before any resulting message is written, the
 * receivers of those would be idle meanwhile, and this process would be idle afterwards. So the rest of a message waits until
 * the results of its first portion have been written.
 */
export class ChunkedDelivery<Item> {
  readonly #take: (item: Item) => void;
  #rest: Item[] = [];
  /** The number of items that wait. Only this class writes this field. */
  waiting = 0;

  constructor(take: (item: Item) => void) {
    this.#take = take;
  }

  /** Processes the first portion at once and the rest later. */
  add(items: readonly Item[]): void {
    if (items.length > PORTION) {
      if (this.#rest.length === 0) setImmediate(this.#soon);
      this.#rest.push(...items.slice(PORTION));
      this.waiting = this.#rest.length;
    }
    for (let at = 0; at < items.length && at < PORTION; at += 1) this.#take(items[at] as Item);
  }

  /** Processes the rest now. */
  readonly flush = (): void => {
    const rest = this.#rest;
    this.#rest = [];
    this.waiting = 0;
    for (const item of rest) this.#take(item);
  };

  // In the second `setImmediate`, because the connection writes in the first.
  readonly #soon = (): void => {
    setImmediate(this.flush);
  };
}
