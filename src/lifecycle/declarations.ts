/** Declares, in the background and in order, the routes and subscriptions that are registered after `connect()`. */

import { settleAll } from "../async/concurrently.ts";
import type { Per } from "../registry/subscriptions.ts";
import type { Session } from "../transport/transport.ts";

/** Binding keys, by the kind of subscription. */
export type Keys = Readonly<Record<Per, readonly string[]>>;

/** Binds all keys, in as few round trips as possible. */
export async function bindKeys(session: Session, keys: Keys): Promise<void> {
  const pers = ["service", "instance"] as const;
  await settleAll(pers.filter((per) => keys[per].length > 0).map((per) => session.bind(keys[per], per)));
}

/** Groups the binding keys of subscriptions by their kind. */
export function keysOf(subscriptions: Iterable<{ readonly key: string; readonly per: Per }>): Keys {
  const keys: Record<Per, string[]> = { service: [], instance: [] };
  for (const { key, per } of subscriptions) keys[per].push(key);
  return keys;
}

/** The parts that {@link Declarations} work with. */
export interface DeclarationsDependencies {
  /** Resolves when connected; `undefined` before `connect()`, when nothing has to be done. */
  readonly connecting: () => Promise<void> | undefined;
  readonly session: () => Session | undefined;
  /** Is called with a failure for which no caller waits. */
  readonly failed: (error: unknown) => void;
}

/** Declarations in the background, for which the next `connect()` waits. */
export class Declarations {
  readonly #parts: DeclarationsDependencies;
  #last: Promise<void> = Promise.resolve();
  // Keys that wait to be bound. Keys that are subscribed meanwhile are bound together with them.
  #open: Record<Per, string[]> | undefined;

  constructor(parts: DeclarationsDependencies) {
    this.#parts = parts;
  }

  /** Resolves when everything that was added so far has been tried. Never rejects. */
  settled(): Promise<void> {
    return this.#last.catch(() => undefined);
  }

  /** Forgets the earlier declarations. What is added from now on does not wait for them. */
  reset(): void {
    this.#last = Promise.resolve();
    this.#open = undefined;
  }

  /** Declares the service's queues and consumes commands. */
  serve(): void {
    this.#add((session) => session.serve());
  }

  /** Binds a key and serves. Keys that are added one after the other are bound together. */
  bind(key: string, per: Per): void {
    if (this.#parts.connecting() === undefined) return;
    if (this.#open !== undefined) {
      this.#open[per].push(key);
      return;
    }
    const keys: Record<Per, string[]> = { service: [], instance: [] };
    keys[per].push(key);
    this.#open = keys;
    const close = (): void => {
      if (this.#open === keys) this.#open = undefined;
    };
    const work = async (session: Session): Promise<void> => {
      close();
      try {
        await bindKeys(session, keys);
      } finally {
        // Also if the binding is refused, because commands do not depend on it.
        await session.serve();
      }
    };
    this.#add(work, close);
  }

  /** Ends the delivery of this instance's own copies for a key. */
  unbindInstance(key: string): void {
    // Subscriptions that are made from now on are bound after this.
    this.#open = undefined;
    this.#add((session) => session.unbindInstance(key));
  }

  #add(work: (session: Session) => Promise<void>, ended: () => void = () => undefined): void {
    const { connecting, session, failed } = this.#parts;
    const connected = connecting();
    if (connected === undefined) return;
    const next = Promise.all([this.settled(), connected]).then(async () => {
      const present = session();
      if (present !== undefined) await work(present);
    });
    this.#last = next;
    next.catch(failed).finally(ended);
  }
}
