/** A connection to RabbitMQ, opened when there is need for one. */

import type { ConfluoError } from "../../errors.ts";
import type { Wire } from "../wire.ts";
import type { BrokerUrl } from "./broker-url.ts";
import type { TlsOptions } from "./tls-options.ts";

export type OnBlocked = (reason: string | undefined) => void;
export type OnRefused = (error: ConfluoError) => void;

/** Where RabbitMQ is, and how to talk to it. */
export interface RabbitAddress {
  readonly nodes: readonly BrokerUrl[];
  readonly tls: TlsOptions | undefined;
  readonly onBlocked?: OnBlocked | undefined;
  readonly onRefused?: OnRefused | undefined;
  /** Whether deliveries hold the bytes of their header tables. Default: no. */
  readonly keepsHeaders?: boolean;
}

/** Loads what speaks AMQP when it is needed: the embedded broker does without. */
export async function openRabbit(address: RabbitAddress, signal: AbortSignal): Promise<Wire> {
  const { nodes, onBlocked = ignore, onRefused = ignore, ...options } = address;
  const { openRabbitWire } = await import("./rabbit-wire.ts");
  // Shuffled, so that the instances of a fleet spread over a cluster's nodes.
  const urls = nodes
    .map((node) => ({ node, at: Math.random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ node }) => node);
  const connectionName = `confluo ${process.pid}`;
  return openRabbitWire({ ...options, onBlocked, onRefused, urls, connectionName }, signal);
}

function ignore(): void {}
