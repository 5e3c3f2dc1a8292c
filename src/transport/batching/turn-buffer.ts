/** A buffer for the items that one turn of the event loop has for one receiver. */

/** The way in which a buffer sends, and its limits. */
export interface TurnBufferDependencies<Item> {
  /** Sends one item or more. */
  send(items: readonly [Item, ...Item[]]): void;
  /** The most bytes of bodies that are sent together. */
  readonly bytes: number;
  /** True if even a single item waits for the end of the turn. */
  readonly isEager: boolean;
}

/**
 * Collects the items of one turn and sends them at its end, or earlier, as soon as there are half as many as in the turn
 * before: an item does not wait for others that do not come. The first item of a turn is sent at once if the turn before had at
 * most one, so that a single item is not delayed.
 */
export class TurnBuffer<Item> {
  readonly #parts: TurnBufferDependencies<Item>;
  #items: Item[] = [];
  #bytes = 0;
  #lastTurn = 0;
  #thisTurn = 0;

  constructor(parts: TurnBufferDependencies<Item>) {
    this.#parts = parts;
  }

  /**
   * Adds an item.
   *
   * @param most the most items that are sent together.
   */
  add(item: Item, bytes: number, most: number): void {
    if (this.#thisTurn === 0) setImmediate(this.#endTurn);
    this.#thisTurn += 1;
    if (this.#thisTurn === 1 && this.#lastTurn <= 1 && !this.#parts.isEager) {
      this.#parts.send([item]);
      return;
    }
    if (this.#bytes + bytes > this.#parts.bytes) this.flush();
    // Runs when everything that this callback of the event loop has caused is done. Other callbacks of the same turn may
    // follow.
    if (this.#items.length === 0) process.nextTick(this.#endCallback);
    this.#items.push(item);
    this.#bytes += bytes;
    if (this.#items.length >= most) this.flush();
  }

  /** Sends the items that were collected. */
  flush(): void {
    const items = this.#items;
    if (items.length === 0) return;
    this.#items = [];
    this.#bytes = 0;
    this.#parts.send(items as [Item, ...Item[]]);
  }

  readonly #endCallback = (): void => {
    if (this.#thisTurn * 2 >= this.#lastTurn) this.flush();
  };

  readonly #endTurn = (): void => {
    this.#lastTurn = this.#thisTurn;
    this.#thisTurn = 0;
    this.flush();
  };
}
