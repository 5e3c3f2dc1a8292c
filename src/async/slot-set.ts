/** Many things that come and go. */

/** What can be in a {@link SlotSet}: it keeps its own slot. */
export interface SlotSetItem {
  /** Only its set writes it. Below 0 while the item is in none. */
  slot: number;
}

/**
 * A set whose members come and go with every message. V8's own would be rebuilt over and over by that, each former table
 * holding on to the next and to all that was in it: the young objects of a thousand messages grow old, and collecting them
 * was seen to take a quarter of the processor's time.
 */
export class SlotSet<Item extends SlotSetItem> {
  readonly #items: Item[] = [];

  get size(): number {
    return this.#items.length;
  }

  add(item: Item): void {
    item.slot = this.#items.length;
    this.#items.push(item);
  }

  /** @returns whether it was in here. */
  delete(item: Item): boolean {
    const { slot } = item;
    if (this.#items[slot] !== item) return false;
    const last = this.#items.pop() as Item;
    if (last !== item) {
      this.#items[slot] = last;
      last.slot = slot;
    }
    item.slot = -1;
    return true;
  }

  find(isWanted: (item: Item) => boolean): Item | undefined {
    return this.#items.find(isWanted);
  }

  /** As it is now, in no order. */
  list(): readonly Item[] {
    return [...this.#items];
  }
}
