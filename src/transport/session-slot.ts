/** The current session of a service. */

import type { Gate } from "../async/gate.ts";
import type { Session } from "./transport.ts";

/** Holds the current session. Written by the lifecycle, read by the parts that send and that answer. */
export class SessionSlot {
  /** The session to answer on. Set before the first delivery, which is before the service counts as running. */
  session: Session | undefined;
  /** The session to send on without waiting. Set while the service runs, reconnects or drains. */
  ready: Session | undefined;
  /** A gate that opens when a lost connection is restored; `undefined` while there is a connection. */
  broken: Gate | undefined;
  /** The limit on the size of a body, in bytes. */
  maxBodyBytes: number = Number.POSITIVE_INFINITY;
  readonly #whenReady: () => Promise<Session>;

  /** @param whenReady waits for a session to send on. */
  constructor(whenReady: () => Promise<Session>) {
    this.#whenReady = whenReady;
  }

  /** Returns the session to send on, and waits for it while the service connects. Rejects when the service is not connected. */
  async whenReady(): Promise<Session> {
    return this.ready ?? this.#whenReady();
  }
}
