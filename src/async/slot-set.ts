/** Many things that come and go. */

/** An item of a {@link SlotSet}: it keeps its own slot. */
export interface SlotSetItem {
  /** Stays the same while the item is in a set, which alone writes it. Below 0 while the item is in none. */
  slot: number;
}

/**
 * A set whose members come and go with every message. V8's own would be rebuilt over and over by that, each former table
 * holding on to the next and to all that was in it: the young objects of a thousand messages grow old, and collecting them
 * was seen to take a quarter of the processor's time.
 */
export class SlotSet<Item extends SlotSetItem> {
  /** By their slots; only the set writes it. */
  protected readonly items: (Item | undefined)[] = [];
  readonly #free: number[] = [];
  /** How many items are in it. Only the set writes it. */
  size = 0;

  add(item: Item): void {
    const slot = this.#free.pop() ?? this.items.length;
    this.items[slot] = item;
    item.slot = slot;
    this.size += 1;
  }

  /** @returns whether it was in here. */
  delete(item: Item): boolean {
    const { slot } = item;
    if (this.items[slot] !== item) return false;
    this.items[slot] = undefined;
    this.#free.push(slot);
    item.slot = -1;
    this.size -= 1;
    // After a burst there is nothing to walk over in vain.
    if (this.size === 0) {
      this.items.length = 0;
      this.#free.length = 0;
    }
    return true;
  }

  find(isWanted: (item: Item) => boolean): Item | undefined {
    return this.items.find((item) => item !== undefined && isWanted(item));
  }

  /** As it is now, in the order of the slots. */
  list(): readonly Item[] {
    return this.items.filter((item) => item !== undefined);
  }
}
