/** The connection that the sessions of a process share. */

import type { Namespace } from "../../protocol/topology.ts";
import type { AmqpClient } from "../amqp-client.ts";
import type { DelayLevels } from "../queues/delay-levels.ts";

/** The current connection. Its owner writes these fields, sessions read them. */
export interface ConnectionSlot {
  /** The client of the current connection; `undefined` while there is none. */
  client: AmqpClient | undefined;
  /** The number of connections there have been. */
  connections: number;
}

/** A shared connection, as a session sees it. */
export interface SessionConnection extends Readonly<ConnectionSlot> {
  readonly namespace: Namespace;
  /** The delay queues that were declared on it. */
  readonly levels: DelayLevels;
  /** Declares the exchanges and queues that all services of the namespace share. */
  declareShared(client: AmqpClient): Promise<void>;
  /** Returns a new message id. */
  newId(): string;
  /** Logs a failure for which no caller waits. */
  warn(details: object, message: string): void;
}
