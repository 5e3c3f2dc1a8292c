/** The session that a service has at the moment. */

import type { Gate } from "../async/gate.ts";
import type { Session } from "./transport.ts";

/** Written by the lifecycle of a service; read by what sends and by what answers. */
export class SessionSlot {
  /** The session to answer on: there from the first delivery on, before the service counts as running. */
  session: Session | undefined;
  /** The session to send on at once: there while the service runs, reconnects or drains. */
  ready: Session | undefined;
  /** Opens when a connection that is lost has been made again; `undefined` while it stands. */
  broken: Gate | undefined;
  /** The most that a body may take, in bytes. */
  maxBodyBytes: number = Number.POSITIVE_INFINITY;
  readonly #whenReady: () => Promise<Session>;

  /** `whenReady` waits for a session to send on. */
  constructor(whenReady: () => Promise<Session>) {
    this.#whenReady = whenReady;
  }

  /** The session to send on, waiting while the service connects. Rejects when the service is not connected. */
  async whenReady(): Promise<Session> {
    return this.ready ?? this.#whenReady();
  }
}
