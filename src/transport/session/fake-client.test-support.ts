/** A client for tests of what stands on clients: it does nothing, unless a test says what. */

import type { ConfluoError } from "../../errors.ts";
import { mostPropertyBytes } from "../../protocol/encoding/property-size.ts";
import type { AmqpClient } from "../amqp-client.ts";
import type { SessionListener } from "../transport.ts";

/** A client that takes everything, delivers nothing and is never lost. */
export function fakeClient(own: Partial<AmqpClient> = {}): AmqpClient {
  return {
    server: { product: "fake", version: "", capabilities: [] },
    mostPropertyBytes: mostPropertyBytes(),
    declareExchange: async () => undefined,
    hasExchange: async () => true,
    declareQueue: async ({ name }) => name || "amq.gen-1",
    bind: async () => undefined,
    unbind: async () => undefined,
    deleteQueue: async () => 0,
    inspectQueue: async () => undefined,
    congestion: undefined,
    blocked: undefined,
    refused: undefined,
    publish: (_route, _message, settled) => void setImmediate(settled),
    post: () => undefined,
    consume: async () => ({ cancel: async () => undefined, close: async () => undefined }),
    close: async () => undefined,
    lost: new Promise(() => undefined),
    ...own,
  };
}

/** A client that a test can break. */
export function breakableClient(own: Partial<AmqpClient> = {}): {
  readonly client: AmqpClient;
  lose(reason: ConfluoError): void;
} {
  let lose: (reason: ConfluoError) => void = () => undefined;
  const lost = new Promise<ConfluoError | undefined>((resolve) => {
    lose = resolve;
  });
  return { client: fakeClient({ ...own, lost }), lose };
}

/** A service that takes what it is given and says nothing. */
export function fakeMember(own: Partial<SessionListener> = {}): SessionListener {
  return {
    service: "s",
    instance: "i",
    prefetch: { calls: 1, inbox: 1 },
    onDelivery: () => undefined,
    onExpired: () => undefined,
    batching: { maxCalls: 1, maxBytes: 65_536, isEager: false },
    onBounced: () => undefined,
    onReply: () => undefined,
    onLost: () => undefined,
    onQuestion: undefined,
    onRestored: () => undefined,
    ...own,
  };
}
