/** Routes and subscriptions that are registered after `connect()`: declared in the background, in the order of registering. */

import { settleAll } from "../async/concurrently.ts";
import type { Per } from "../registry/subscriptions.ts";
import type { Session } from "../transport/transport.ts";

/** Binding keys, by who gets a copy. */
export type Keys = Readonly<Record<Per, readonly string[]>>;

/** Binds all keys, in as few round trips as there can be. */
export async function bindKeys(session: Session, keys: Keys): Promise<void> {
  const pers = ["service", "instance"] as const;
  await settleAll(pers.filter((per) => keys[per].length > 0).map((per) => session.bind(keys[per], per)));
}

/** Subscriptions by the key that they bind. */
export function keysOf(subscriptions: Iterable<{ readonly key: string; readonly per: Per }>): Keys {
  const keys: Record<Per, string[]> = { service: [], instance: [] };
  for (const { key, per } of subscriptions) keys[per].push(key);
  return keys;
}

/** The parts that declarations work with. */
export interface DeclarationsDependencies {
  /** Resolves when connected; `undefined` before `connect()`, when nothing is to be done. */
  readonly connecting: () => Promise<void> | undefined;
  readonly session: () => Session | undefined;
  /** Is told of a failure that nobody waits for. */
  readonly failed: (error: unknown) => void;
}

/** Declarations that the next `connect()` waits for. */
export class Declarations {
  readonly #parts: DeclarationsDependencies;
  #last: Promise<void> = Promise.resolve();
  // Keys whose turn has not come: those that are subscribed until then are bound with them.
  #open: Record<Per, string[]> | undefined;

  constructor(parts: DeclarationsDependencies) {
    this.#parts = parts;
  }

  /** Resolves when all that was added so far has been tried. Never rejects. */
  settled(): Promise<void> {
    return this.#last.catch(() => undefined);
  }

  /** Forgets how it went: what is added from here on waits for nothing. */
  reset(): void {
    this.#last = Promise.resolve();
    this.#open = undefined;
  }

  /** Takes commands. */
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
        // Also where an event is refused: commands have nothing to do with it.
        await session.serve();
      }
    };
    this.#add(work, close);
  }

  /** Ends this instance's own copies of a key. */
  unbindInstance(key: string): void {
    // Subscriptions that are made from here on are bound after this.
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
