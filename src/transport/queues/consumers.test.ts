import { expect, it, vi } from "vitest";
import type { Consumer } from "../amqp-client.ts";
import { fakeClient } from "../session/fake-client.test-support.ts";
import { Consumers } from "./consumers.ts";

const options = {
  queue: "q",
  prefetch: 1,
  onDelivery: () => undefined,
  onCancelled: () => undefined,
} as const;

function consumersOn() {
  const grants: ((consumer: Consumer) => void)[] = [];
  const consume = vi.fn(() => new Promise<Consumer>((resolve) => void grants.push(resolve)));
  const consumers = new Consumers(() => true);
  const close = vi.fn(async () => undefined);
  const grant = (): void => grants.shift()?.({ cancel: async () => undefined, close });
  return { consumers, client: fakeClient({ consume }), consume, grant, close };
}

it("takes one consumer for all who ask at the same time, and ends that one", async () => {
  const { consumers, client, consume, grant, close } = consumersOn();
  const taken = Promise.all([
    consumers.take("calls", client, options),
    consumers.take("calls", client, options),
  ]);
  grant();
  expect(await taken).toEqual([true, true]);
  expect(consume).toHaveBeenCalledTimes(1);
  await consumers.close(["calls"]);
  expect(close).toHaveBeenCalledTimes(1);
});

it("asks again on another wire, though the first has not answered", async () => {
  const { consumers, client, consume, grant } = consumersOn();
  void consumers.take("calls", client, options);
  const next = fakeClient({
    consume: async () => ({ cancel: async () => undefined, close: async () => undefined }),
  });
  expect(await consumers.take("calls", next, options)).toBe(true);
  expect(consume).toHaveBeenCalledTimes(1);
  grant();
});
