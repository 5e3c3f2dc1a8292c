import { expect, it, vi } from "vitest";
import { Namespace } from "../../protocol/topology.ts";
import type { Consumer, Wire } from "../wire.ts";
import { type LinkHost, WireLink } from "./link.ts";

it("ends a consumer that the broker granted only after the link was closed", async () => {
  let grant: (consumer: Consumer) => void = () => undefined;
  const asked = vi.fn();
  const wire: Wire = {
    declareExchange: async () => undefined,
    declareQueue: async ({ name }) => name,
    bind: async () => undefined,
    unbind: async () => undefined,
    inspectQueue: async () => undefined,
    publish: () => undefined,
    post: () => undefined,
    consume: () => {
      asked();
      return new Promise((resolve) => {
        grant = resolve;
      });
    },
    close: async () => undefined,
    lost: new Promise(() => undefined),
  };
  const host: LinkHost = {
    namespace: new Namespace("confluo"),
    wire,
    declareShared: async () => undefined,
    newId: () => "id",
    warn: () => undefined,
    leave: async () => undefined,
  };
  const link = new WireLink(host, {
    service: "late",
    instance: "i",
    prefetch: { calls: 1, inbox: 1 },
    onDelivery: () => undefined,
    onReply: () => undefined,
    onLost: () => undefined,
    onRestored: () => undefined,
  });
  const serving = link.serve();
  await vi.waitFor(() => expect(asked).toHaveBeenCalledTimes(1));
  const closing = link.close();
  const close = vi.fn(async () => undefined);
  grant({ cancel: async () => undefined, close });
  await Promise.all([serving, closing]);
  expect(close).toHaveBeenCalledTimes(1);
  // And the second lane was not consumed any more.
  expect(asked).toHaveBeenCalledTimes(1);
});
