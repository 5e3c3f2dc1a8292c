/** Work that has begun and not ended. */

/** Counts what is under way, so that its end can be waited for. */
export class CopiesUnderWay {
  /** How much is under way. */
  count = 0;
  #waiting: (() => void)[] = [];

  /** Notes that something begins. The function that it returns notes its end, once. */
  begin(): () => void {
    this.count += 1;
    return () => {
      this.count -= 1;
      if (this.count > 0) return;
      for (const resolve of this.#waiting.splice(0)) resolve();
    };
  }

  /** Resolves when nothing is under way any more. */
  ended(): Promise<void> {
    if (this.count === 0) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}
