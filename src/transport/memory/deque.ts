/** A queue with O(1) operations at both ends, in a ring buffer that doubles when it is full. */

const initialCapacity = 16;
/** A ring larger than this is replaced by a small one when it is empty, so that a burst does not occupy memory for good. */
const keptCapacity = 4096;

/** A double-ended queue. */
export class Deque<Value> {
  #ring: (Value | undefined)[] = new Array(initialCapacity);
  #mask = initialCapacity - 1;
  #head = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(value: Value): void {
    if (this.#length > this.#mask) this.#grow();
    this.#ring[(this.#head + this.#length) & this.#mask] = value;
    this.#length += 1;
  }

  shift(): Value | undefined {
    if (this.#length === 0) return undefined;
    const value = this.#ring[this.#head];
    this.#ring[this.#head] = undefined;
    this.#head = (this.#head + 1) & this.#mask;
    this.#length -= 1;
    if (this.#length === 0 && this.#mask >= keptCapacity) this.clear();
    return value;
  }

  first(): Value | undefined {
    return this.#ring[this.#head];
  }

  /** Inserts a value before the one at `index`. Moves the values of the shorter side. */
  insert(index: number, value: Value): void {
    if (this.#length > this.#mask) this.#grow();
    this.#length += 1;
    if (index < this.#length / 2) {
      this.#head = (this.#head - 1) & this.#mask;
      for (let i = 0; i < index; i += 1) this.#move(i + 1, i);
    } else {
      for (let i = this.#length - 1; i > index; i -= 1) this.#move(i - 1, i);
    }
    this.#ring[(this.#head + index) & this.#mask] = value;
  }

  /**
   * Returns the first index whose value satisfies a predicate. Once true, the predicate must stay true for all further values.
   */
  search(isAfter: (value: Value) => boolean): number {
    let low = 0;
    let high = this.#length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (isAfter(this.#ring[(this.#head + middle) & this.#mask] as Value)) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** Removes every occurrence of a value, in O(n). */
  remove(value: Value): void {
    for (let left = this.#length; left > 0; left -= 1) {
      const kept = this.shift() as Value;
      if (kept !== value) this.push(kept);
    }
  }

  clear(): void {
    this.#ring = new Array(initialCapacity);
    this.#mask = initialCapacity - 1;
    this.#head = 0;
    this.#length = 0;
  }

  #move(from: number, to: number): void {
    this.#ring[(this.#head + to) & this.#mask] = this.#ring[(this.#head + from) & this.#mask];
  }

  #grow(): void {
    const capacity = this.#ring.length;
    const ring = new Array<Value | undefined>(capacity * 2);
    for (let i = 0; i < capacity; i += 1) ring[i] = this.#ring[(this.#head + i) & this.#mask];
    this.#ring = ring;
    this.#mask = capacity * 2 - 1;
    this.#head = 0;
  }
}
