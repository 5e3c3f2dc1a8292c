/** Opens a client for RabbitMQ, and loads amqplib only then. */

import type { ConfluoError } from "../../errors.ts";
import type { AmqpClient } from "../amqp-client.ts";
import type { BrokerUrl } from "./broker-url.ts";
import type { TlsOptions } from "./tls-options.ts";

/** Is called with the reason why the broker accepts no messages, and with `undefined` when it accepts them again. */
export type OnBlocked = (reason: string | undefined) => void;
/** Is called with the error for a right to publish that is missing. */
export type OnRefused = (error: ConfluoError) => void;

/** The addresses of RabbitMQ and how to connect to it, with the callbacks for its state. */
export interface RabbitAddress {
  readonly nodes: readonly BrokerUrl[];
  readonly tls: TlsOptions | undefined;
  readonly onBlocked?: OnBlocked | undefined;
  readonly onRefused?: OnRefused | undefined;
  /** True if deliveries must contain the encoded header table. Default: false. */
  readonly keepsHeaders?: boolean | undefined;
}

/** Opens a client. The AMQP client library is imported here, because the embedded broker does not need it. */
export async function openRabbit(address: RabbitAddress, signal: AbortSignal): Promise<AmqpClient> {
  const { nodes, onBlocked = ignore, onRefused = ignore, ...options } = address;
  const { openRabbitClient } = await import("./rabbit-client.ts");
  // Shuffled, so that the instances of a fleet are spread over the nodes of a cluster.
  const urls = nodes
    .map((node) => ({ node, at: Math.random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ node }) => node);
  const connectionName = `confluo ${process.pid}`;
  return openRabbitClient({ ...options, onBlocked, onRefused, urls, connectionName }, signal);
}

function ignore(): void {}
