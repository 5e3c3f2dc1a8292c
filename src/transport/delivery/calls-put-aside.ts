/**
 * The calls that this instance has put aside. They show if a call was lost with an instance or if somebody only looked into the
 * queue.
 */

import type { Message } from "../../protocol/message.ts";

/** The most calls that are remembered. */
const MOST = 4_096;
/** Calls that are put aside within this time, in milliseconds, share one count of the consumers. */
const SAME_COUNT_MS = 100;

/**
 * Decides if a call that is redelivered from the queue of calls that run alone was only looked at. Such a call was delivered to
 * an instance that died, or to an operator who looked into the queue and returned everything. RabbitMQ does not distinguish the
 * two. But if this instance put the call aside itself, and that queue has as many consumers now as it had then, no instance has
 * died in between. This is assumed once for each call; the second time, the call counts as lost with an instance.
 */
export class CallsPutAside {
  readonly #countConsumers: () => Promise<number>;
  readonly #consumersThen = new Map<string, Promise<number>>();
  #counted: { readonly at: number; readonly count: Promise<number> } | undefined;

  /** @param countConsumers returns the number of consumers of that queue; 0 while this instance does not consume it. */
  constructor(countConsumers: () => Promise<number>) {
    this.#countConsumers = countConsumers;
  }

  /** Notes a call that is about to be put aside. */
  note(call: Message): void {
    const id = idOf(call);
    if (id === undefined) return;
    for (const oldest of this.#consumersThen.keys()) {
      if (this.#consumersThen.size < MOST) break;
      this.#consumersThen.delete(oldest);
    }
    this.#consumersThen.set(id, this.#count());
  }

  /** Returns whether a redelivered call was only looked at; `undefined` if this instance did not put it aside. */
  wasLookedAt(call: Message): Promise<boolean> | undefined {
    const id = idOf(call);
    const then = id === undefined ? undefined : this.#consumersThen.get(id);
    if (id === undefined || then === undefined) return undefined;
    this.#consumersThen.delete(id);
    return Promise.all([then, this.#countConsumers()]).then(
      ([before, now]) => before > 0 && now >= before,
      () => false,
    );
  }

  /** Forgets all calls, because this instance's own consumer was gone for a while. */
  forget(): void {
    this.#consumersThen.clear();
    this.#counted = undefined;
  }

  #count(): Promise<number> {
    const now = performance.now();
    if (this.#counted === undefined || now - this.#counted.at > SAME_COUNT_MS) {
      const count = this.#countConsumers();
      count.catch(() => undefined);
      this.#counted = { at: now, count };
    }
    return this.#counted.count;
  }
}

// In a message of a foreign sender, both properties may have any value.
function idOf({ properties: { replyTo, correlationId } }: Message): string | undefined {
  if (typeof replyTo !== "string" || typeof correlationId !== "string") return undefined;
  return `${replyTo} ${correlationId}`;
}
