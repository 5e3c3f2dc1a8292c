/** The calls that an instance has put aside, to tell a look at their queue from the death of whoever had them alone. */

import type { Message } from "../../protocol/message.ts";

const MOST = 4_096;
/** Calls that are put aside together are counted with one question to the broker. */
const SAME_COUNT_MS = 100;

/**
 * A call that comes marked out of its queue was in somebody's hands: of an instance that died, or of an operator who looked
 * at the queue and put all back. RabbitMQ tells no difference. But if the very instance that put the call aside is still
 * there, and as many consume that queue now as then, no instance has died meanwhile. That holds once for each call: a second
 * time it is taken for a death.
 */
export class CallsPutAside {
  readonly #countConsumers: () => Promise<number>;
  readonly #consumersThen = new Map<string, Promise<number>>();
  #counted: { readonly at: number; readonly count: Promise<number> } | undefined;

  /** @param countConsumers asks the broker how many consume the queue of such calls; 0 while this instance does not. */
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

  /** Returns whether a call that came marked was only looked at; `undefined` if this instance cannot tell. */
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

  /** Forgets all: this instance's own consumer was gone for a while. */
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

// Of a foreign sender, either may be anything.
function idOf({ properties: { replyTo, correlationId } }: Message): string | undefined {
  if (typeof replyTo !== "string" || typeof correlationId !== "string") return undefined;
  return `${replyTo} ${correlationId}`;
}
