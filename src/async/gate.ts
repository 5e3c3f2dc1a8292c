/** Something that many wait for, and each may stop waiting for without leaving a trace. */

/** A gate that opens once. A promise would keep a reaction of everyone who ever waited for it, with all that holds on to. */
export class Gate {
  readonly #waiting = new Set<() => void>();

  /**
   * Calls back when it opens.
   *
   * @returns a function that ends this; calling it again does nothing.
   */
  onOpen(callback: () => void): () => void {
    const own = (): void => callback();
    this.#waiting.add(own);
    return () => void this.#waiting.delete(own);
  }

  /** Lets everyone go on. Who comes later waits for the next time. */
  open(): void {
    const callbacks = [...this.#waiting];
    this.#waiting.clear();
    for (const callback of callbacks) callback();
  }
}
