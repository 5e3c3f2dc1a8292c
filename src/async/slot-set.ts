/** A set for many short-lived items. */

/** An item of a {@link SlotSet}, which stores its own slot. */
export interface SlotSetItem {
  /** Constant while the item is in a set; only the set writes it. Negative while the item is in no set. */
  slot: number;
}

/**
 * A set whose members change with every message. A `Set` of V8 would be rebuilt repeatedly, and each former table would keep a
 * reference to the next one and to its contents. The young objects of a thousand messages would then grow old; collecting them
 * was measured to take a quarter of the CPU time.
 */
export class SlotSet<Item extends SlotSetItem> {
  /** Items by slot; only the set writes this. */
  protected readonly items: (Item | undefined)[] = [];
  readonly #free: number[] = [];
  /** Number of items; only the set writes it. */
  size = 0;

  add(item: Item): void {
    const slot = this.#free.pop() ?? this.items.length;
    this.items[slot] = item;
    item.slot = slot;
    this.size += 1;
  }

  /** @returns whether the item was in the set. */
  delete(item: Item): boolean {
    const { slot } = item;
    if (this.items[slot] !== item) return false;
    this.items[slot] = undefined;
    this.#free.push(slot);
    item.slot = -1;
    this.size -= 1;
    // Shrinks the list after a burst, so that later loops do not walk over empty slots.
    if (this.size === 0) {
      this.items.length = 0;
      this.#free.length = 0;
    }
    return true;
  }

  find(isWanted: (item: Item) => boolean): Item | undefined {
    return this.items.find((item) => item !== undefined && isWanted(item));
  }

  /** Returns the present items, in the order of their slots. */
  list(): readonly Item[] {
    return this.items.filter((item) => item !== undefined);
  }
}
