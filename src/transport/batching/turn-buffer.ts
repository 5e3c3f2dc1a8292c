/** A buffer of what one turn of the event loop has for one receiver. */

/** How a buffer sends, and how much at a time. */
export interface TurnBufferDependencies<Item> {
  /** At least one. */
  send(items: readonly [Item, ...Item[]]): void;
  /** Bytes of all bodies together, at most. */
  readonly bytes: number;
  /** True if an item that comes alone waits for the end of the turn, too. */
  readonly isEager: boolean;
}

/**
 * Collects what comes in one turn and sends it at its end, or sooner, once at least half as much has come as in the turn
 * before: nothing waits for what is not there. The first of a turn is sent at once while there is one a turn, so that what
 * comes alone is as fast as ever.
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

  /** @param most items at a time. */
  add(item: Item, bytes: number, most: number): void {
    if (this.#thisTurn === 0) setImmediate(this.#endTurn);
    this.#thisTurn += 1;
    if (this.#thisTurn === 1 && this.#lastTurn <= 1 && !this.#parts.isEager) {
      this.#parts.send([item]);
      return;
    }
    if (this.#bytes + bytes > this.#parts.bytes) this.flush();
    // When all that this callback of the event loop leads to has been done; other callbacks of the turn may follow.
    if (this.#items.length === 0) process.nextTick(this.#endCallback);
    this.#items.push(item);
    this.#bytes += bytes;
    if (this.#items.length >= most) this.flush();
  }

  /** Sends what there is. */
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
