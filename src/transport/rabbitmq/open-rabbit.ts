/** Opens a client to RabbitMQ, and loads what that takes. */

import type { ConfluoError } from "../../errors.ts";
import type { AmqpClient } from "../amqp-client.ts";
import type { BrokerUrl } from "./broker-url.ts";
import type { TlsOptions } from "./tls-options.ts";

/** Is told why the broker takes no messages, or that it takes them again. */
export type OnBlocked = (reason: string | undefined) => void;
/** Is told of a right to publish that is missing. */
export type OnRefused = (error: ConfluoError) => void;

/** Where RabbitMQ is, whom to tell of it, and how to talk to it. */
export interface RabbitAddress {
  readonly nodes: readonly BrokerUrl[];
  readonly tls: TlsOptions | undefined;
  readonly onBlocked?: OnBlocked | undefined;
  readonly onRefused?: OnRefused | undefined;
  /** True if deliveries hold the bytes of their header tables. Default: no. */
  readonly keepsHeaders?: boolean | undefined;
}

/** Loaded when it is needed: the embedded broker does without an AMQP client. */
export async function openRabbit(address: RabbitAddress, signal: AbortSignal): Promise<AmqpClient> {
  const { nodes, onBlocked = ignore, onRefused = ignore, ...options } = address;
  const { openRabbitClient } = await import("./rabbit-client.ts");
  // Shuffled, so that the instances of a fleet spread over a cluster's nodes.
  const urls = nodes
    .map((node) => ({ node, at: Math.random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ node }) => node);
  const connectionName = `confluo ${process.pid}`;
  return openRabbitClient({ ...options, onBlocked, onRefused, urls, connectionName }, signal);
}

function ignore(): void {}
