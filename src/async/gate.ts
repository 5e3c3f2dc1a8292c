/** A gate that many wait for. Each can stop waiting, and then nothing refers to it any more. */

/**
 * A gate that callbacks wait for. A promise would keep the reactions, and everything they refer to, even of those that stopped
 * waiting.
 */
export class Gate {
  readonly #waiting = new Set<() => void>();

  /**
   * Calls back when the gate opens.
   *
   * @returns a function that removes the callback; calling it again does nothing.
   */
  onOpen(callback: () => void): () => void {
    const own = (): void => callback();
    this.#waiting.add(own);
    return () => void this.#waiting.delete(own);
  }

  /** Calls all waiting callbacks. A callback that is added later waits until the gate opens again. */
  open(): void {
    const callbacks = [...this.#waiting];
    this.#waiting.clear();
    for (const callback of callbacks) callback();
  }
}
