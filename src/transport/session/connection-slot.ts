/** The connection that the sessions of a process share. */

import type { Namespace } from "../../protocol/topology.ts";
import type { AmqpClient } from "../amqp-client.ts";

/** The connection at the moment, as whoever makes it says. */
export interface ConnectionSlot {
  /** The client of the connection at the moment; `undefined` while there is none. */
  client: AmqpClient | undefined;
  /** How many connections there have been. */
  connections: number;
}

/** A shared connection, as a session sees it. */
export interface SessionConnection extends Readonly<ConnectionSlot> {
  readonly namespace: Namespace;
  /** Declares what all services of the namespace share. */
  declareShared(client: AmqpClient): Promise<void>;
  newId(): string;
  /** Reports a failure that nobody waits for. */
  warn(details: object, message: string): void;
}
