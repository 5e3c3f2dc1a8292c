/** Opens a wire to RabbitMQ, and loads what that takes. */

import type { ConfluoError } from "../../errors.ts";
import type { Wire } from "../wire.ts";
import type { BrokerUrl } from "./broker-url.ts";
import type { TlsOptions } from "./tls-options.ts";

/** Is told why the broker takes no messages, or that it takes them again. */
export type OnBlocked = (reason: string | undefined) => void;
/** Is told of a right to publish that is missing. */
export type OnRefused = (error: ConfluoError) => void;

/** Where RabbitMQ is, and whom to tell of it. */
export interface RabbitAddress {
  readonly nodes: readonly BrokerUrl[];
  readonly tls: TlsOptions | undefined;
  readonly onBlocked: OnBlocked;
  readonly onRefused: OnRefused;
}

/** Loaded when it is needed: the embedded broker does without an AMQP client. */
export async function openRabbit({ nodes, ...options }: RabbitAddress, signal: AbortSignal): Promise<Wire> {
  const { openRabbitWire } = await import("./rabbit-wire.ts");
  // Shuffled, so that the instances of a fleet spread over a cluster's nodes.
  const urls = nodes
    .map((node) => ({ node, at: Math.random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ node }) => node);
  return openRabbitWire({ ...options, urls, connectionName: `confluo ${process.pid}` }, signal);
}
