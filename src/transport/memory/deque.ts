/** A queue with O(1) at both ends, on a ring that grows by doubling. */

const initialCapacity = 16;
/** A burst must not hold its memory for good: an emptied ring larger than this starts small again. */
const keptCapacity = 4096;

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

  /** Puts a value before the one at `index`; moves the shorter side. */
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

  /** The first index whose value satisfies a predicate that, once true, stays true to the end. */
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

  /** Removes every occurrence of a value. O(n). */
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
